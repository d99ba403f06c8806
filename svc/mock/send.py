"""A reply on its way out, as the behaviour has it: late, cut, or well."""

from collections.abc import Callable, Iterable, Iterator
from http.client import responses
from typing import Any

from svc.mock.behaviour import Behaviour
from svc.mock.exchange import Reply, Wire

# WSGI's start_response, and the function that it returns: unlike a yield, writing b"" sends the head.
Write = Callable[[bytes], Any]
Made = Callable[[int], None]
Start = Callable[[str, list[tuple[str, str]]], Write]


def send(
    reply: Reply, name: str, behaviour: Behaviour, wire: Wire, start: Start, made: Made, *, head_only: bool = False
) -> Iterator[bytes]:
    """The reply's parts, each as it is to be written; `start` is called before the first of them, `made` for tokens."""
    status = f"{reply.status} {responses.get(reply.status, 'Unknown')}"
    named = ("x-mock-name", name.encode().decode("latin-1"))
    if reply.events is not None:
        write = start(status, [named, ("Content-Type", "text/event-stream"), ("Cache-Control", "no-cache")])
        yield from _stream(reply.events, behaviour, wire, write, made)
        return
    if reply.tokens:
        wire.pause(behaviour.first_token_delay + behaviour.token_delay * (reply.tokens - 1))
        made(reply.tokens)
    write = start(status, [named, ("Content-Type", reply.kind), ("Content-Length", str(len(reply.body)))])
    if reply.tokens and behaviour.cut_bytes is not None:
        write(reply.body[: behaviour.cut_bytes])
        wire.abort(behaviour.reset)
    if not head_only:
        yield reply.body


def _stream(
    events: Iterable[tuple[bool, bytes]], behaviour: Behaviour, wire: Wire, write: Write, made: Made
) -> Iterator[bytes]:
    delay = behaviour.first_token_delay
    for sent, (timed, event) in enumerate(events):
        if sent == behaviour.hang_after:
            wire.pause(None)
        if timed:
            wire.pause(delay)
            delay = behaviour.token_delay
            made(1)
        if behaviour.cut_bytes is not None and sent == (behaviour.cut_after or 0):
            write(event[: behaviour.cut_bytes])
            wire.abort(behaviour.reset)
        if sent == behaviour.cut_after:
            wire.abort(behaviour.reset)
        yield event
