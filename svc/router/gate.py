"""Judging a request by its head: its path, its key, and whether it goes in circles. Before any of its body is kept."""

from svc.errors import LoopDetected, NotFound
from svc.router.exchange import Exchange
from svc.router.request import Head

SHOWN_PATH_CHARS = 200


def judge(exchange: Exchange) -> None:
    """Raises SvcError for a request that may not pass; one that may counts for its key from now on.

    The key comes before the path: without one, nobody learns which paths are open.
    """
    state, head = exchange.state, exchange.request.head
    exchange.judged = True
    if head.loops:
        raise LoopDetected(
            "the request came back to the router that sent it on: one of its instances is, or leads to, this router; "
            "correct that instance's address"
        )
    key = None
    if state.keys is not None:
        key = state.keys.find(head.key_digests)
        exchange.key = key.name
    if not head.passes and not (key is not None and key.operator):
        raise _not_relayed(head)
    if key is not None:
        key.admit(state.now)
        exchange.counted = key


def _not_relayed(head: Head) -> NotFound:
    path = head.path.partition("?")[0]
    shown = path if len(path) <= SHOWN_PATH_CHARS else path[:SHOWN_PATH_CHARS] + "..."
    return NotFound(
        f"{head.verb} {shown} is not relayed: only paths of inference are. To open it, list it in allow_paths under "
        "[router] in config/svc.toml, or send an operator's key (svc keys add NAME --operator)"
    )
