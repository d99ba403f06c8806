"""Connections to an instance on which a test decides what arrives, for tests of what the router makes of it."""

import socket
from collections.abc import Callable, Iterable
from typing import Any, cast

from svc.router.proxy.upstream import UpstreamConnection
from svc.router.state import RouterState
from tests.unit.router.examples import target


class ScriptedSocket:
    """A socket from which each read takes one part. After the last part the connection ends, or breaks if `breaks`.

    `on_read` is called before each read.
    """

    def __init__(
        self, parts: Iterable[bytes], breaks: bool = False, on_read: Callable[[], object] = lambda: None
    ) -> None:
        self._parts = iter(parts)
        self._breaks = breaks
        self._on_read = on_read

    def recv(self, size: int) -> bytes:
        self._on_read()
        part = next(self._parts, b"")
        if not part and self._breaks:
            raise ConnectionResetError
        return part

    def send(self, data: memoryview) -> int:
        return len(data)

    def fileno(self) -> int:
        return 0  # for a poll object that no test uses

    def close(self) -> None: ...


def event_stream(
    parts: Iterable[bytes], breaks: bool = False, on_read: Callable[[], object] = lambda: None
) -> UpstreamConnection:
    """Return a connection on which the head of an event stream has arrived. The body follows, and ends with it."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    upstream = UpstreamConnection(target("a", "m"), cast(Any, ScriptedSocket([head, *parts], breaks, on_read)))
    upstream.read_head()
    upstream.sent = upstream.persistent = True
    return upstream


def keep_connection(router: RouterState, sock: socket.socket | ScriptedSocket) -> None:
    """Give the router a kept connection to its first instance, on which a response may already have arrived."""
    upstream = UpstreamConnection(router.balancer.table.targets[0], cast(Any, sock))
    upstream.sent = upstream.persistent = True
    upstream.poll_readable = lambda wait: []
    router.upstream_pool.release(upstream, router.now)
