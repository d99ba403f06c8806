"""Authorization of a relayed request: checks its path, API key, origin and forwarding loop, all from its head."""

from svc.base.errors import Forbidden, LoopDetected, NotFound
from svc.router.http.allowed_paths import CANONICAL, INFERENCE_PATHS, is_own, normalise
from svc.router.http.request import RequestHead
from svc.router.proxy.accounts import user_account
from svc.router.proxy.api_keys import ApiKey
from svc.router.proxy.exchange import Exchange
from svc.router.proxy.key_limits import KeyLimits
from svc.router.proxy.trusted_proxies import is_among
from svc.router.proxy.user_limits import UserLimits

MAX_SHOWN_PATH_CHARS = 200


def authorize(exchange: Exchange, peer: bytes) -> None:
    """Check path, API key, origin and forwarding loop from the head, before the body is read.

    Raise SvcError for a request that is refused. A request that is admitted counts for the limits of its key from now
    on. `peer` is the address that sent the request. The key is checked before the path, so that a client without a key
    cannot probe for open paths.
    """
    state, head = exchange.state, exchange.request.head
    if head.needs_authorization:
        _check_loop_and_origin(exchange, peer)
    key = None
    # Browsers and probes send OPTIONS requests without a key.
    if state.keys is not None and (head.key_digests or head.method != b"OPTIONS"):
        key = state.keys.find(head.key_digests)
        exchange.key_name = key.name
    is_operator = key is not None and key.operator
    if head.asks_route:
        if key is not None and not is_operator:
            raise Forbidden("only an operator's key may ask for routes (svc keys add NAME --operator)")
        key = None  # the request counts for no limit
    elif head.needs_authorization and not head.passes and not is_operator:
        raise not_relayed(head, keyed=key is not None)
    if key is not None:
        limits: KeyLimits = key
        if key.is_plain and not state.accounts.has_fronts:
            exchange.account = key.account
        else:
            limits = _limits_of_special_key(exchange, key, peer)
        limits.admit(state.now)
        exchange.limits = limits
    elif state.accounts.needed_without_keys and state.keys is None:
        exchange.account = state.accounts.without_key(head, exchange.client, peer.decode())
    exchange.authorized = True


def _limits_of_special_key(exchange: Exchange, key: ApiKey, peer: bytes) -> KeyLimits:
    """Set the exchange's account, and its `restricted_key` if the key may use only some models.

    Return the limits of the user whom the request names, else those of its key.
    """
    state, account = exchange.state, key.account
    exchange.restricted_key = key if key.restricts_models else None
    user = state.accounts.user(exchange.request.head, key.front, exchange.client, peer.decode())
    exchange.account = user_account(account, user) if user else account
    return UserLimits(key, exchange.account, state.users) if user and key.is_limited else key


def _check_loop_and_origin(exchange: Exchange, peer: bytes) -> None:
    """Raise SvcError for a forwarding loop, a foreign Host, and a write from a page whose origin is not allowed.

    If clients need keys, the origin of a write is not checked: a page of another origin cannot send a key without a
    preflight, and programs that are not pages (browser extensions, desktop programs) may send any Origin.
    """
    head = exchange.request.head
    if head.loops:
        raise LoopDetected(
            "the request came back to the router that sent it on: one of its instances is, or leads to, this router; "
            "correct that instance's address"
        )
    rules, decision = head.rules.browsers, head.origin_decision
    host = head.special.get(b"host", b"").decode("latin-1")
    if decision.host_refused and not rules.admits_host(host, is_among(peer.decode(), exchange.state.trusted)):
        raise rules.misdirected(host)
    if decision.origin_refused and exchange.state.keys is None:
        raise rules.cross_origin(head.special.get(b"origin", b"").decode("latin-1"))


def not_relayed(head: RequestHead, keyed: bool) -> NotFound:
    """Return the error for a path that is not relayed. `keyed`: the client sent a valid key."""
    return NotFound(f"{_route(head.method_text, head.uri)} is not relayed{_cure(head, keyed)}", code="path_not_relayed")


def _cure(head: RequestHead, keyed: bool) -> str:
    path = head.uri.partition(b"?")[0]
    if suggestion := _similar_route(head, normalise(path)):
        return f"; did you mean {suggestion}?"
    by_key = "send an operator's key (svc keys add NAME --operator)"
    if not CANONICAL.fullmatch(path):
        reason = ": it has an empty or dot segment, or characters that engines read in different ways; send it without"
        return f"{reason}, or {by_key}" if keyed else reason
    setting = ": only inference paths are; to open it, list it in allow_paths under [router] in config/svc.toml"
    return f"{setting}, or {by_key}" if keyed else setting


def _similar_route(head: RequestHead, path: bytes) -> str:
    """Return a valid method and path that resemble those of the request; empty if there are none."""
    if (head.method, path) == (b"GET", b"/"):
        return "GET /ui"
    if head.rules.paths.allow(head.method, path) or is_own(head.method, path):
        return _route(head.method_text, path)
    return _route("POST", path) if path in INFERENCE_PATHS else ""


def _route(method: str, uri: bytes) -> str:
    """Return method and path for an error message, without the query, cut at MAX_SHOWN_PATH_CHARS."""
    path = uri.partition(b"?")[0].decode("latin-1")
    return f"{method} {path}" if len(path) <= MAX_SHOWN_PATH_CHARS else f"{method} {path[:MAX_SHOWN_PATH_CHARS]}..."
