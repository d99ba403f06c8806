"""Sockets as the hot path uses them: plain ones, gevent's, and those under TLS."""

import socket
import ssl
from collections.abc import Callable
from functools import partial


def send(sock: socket.socket, data: bytes) -> None:
    """All of it; gevent's own sendall asks getsockopt each time."""
    sent = sock.send(data)
    if sent < len(data):
        rest = memoryview(data)
        while sent < len(rest):
            sent += sock.send(rest[sent:])


def waiter(sock: socket.socket) -> Callable[[], object]:
    """What to call before a `recv` that has nothing to read yet.

    gevent's recv tries first and waits only after the system call has failed:
    8 of 46 us of a relayed request went into failing. Nothing to call without
    gevent, nor under TLS, where decrypted bytes may lie in the socket already.
    """
    wait = getattr(sock, "_wait", None)
    if wait is None or isinstance(sock, ssl.SSLSocket):
        return _nothing
    return partial(wait, sock._read_event)  # type: ignore[attr-defined]


def shut(sock: socket.socket, how: int = socket.SHUT_RDWR) -> None:
    """Wakes whoever reads or writes it, from another greenlet; a connection under TLS is not unwrapped by it.

    Raises OSError where it is not connected any more.
    """
    plain = getattr(sock, "_sock", None)  # gevent's sockets have one inside
    (plain if plain is not None else super(socket.socket, sock)).shutdown(how)  # type: ignore[union-attr]


def _nothing() -> None:
    pass
