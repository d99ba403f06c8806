"""Sockets as the hot path uses them: gevent's, plain ones, and those under TLS.

gevent's `recv` tries first and waits only after the system call has failed, and
its `send` and `recv` each cost a frame of Python. Under gevent we wait first,
and then speak to the socket inside: a relayed request costs a fifth less.
"""

import socket
import ssl
from collections.abc import Callable
from contextlib import suppress

RECV = 65536


def receiver(sock: socket.socket) -> Callable[[], bytes]:
    """What to call for more bytes, where none are there yet; empty at the end, OSError when it is broken off."""
    wait, raw = getattr(sock, "_wait", None), getattr(sock, "_sock", None)
    if wait is None or raw is None or isinstance(sock, ssl.SSLSocket):  # decrypted bytes may lie in it already
        return lambda: sock.recv(RECV)
    event, recv = sock._read_event, raw.recv  # type: ignore[attr-defined]

    def receive() -> bytes:
        wait(event)
        try:
            return recv(RECV)
        except BlockingIOError:  # it was not for us after all
            return sock.recv(RECV)

    return receive


def sender(sock: socket.socket) -> Callable[[bytes], None]:
    """What to call to send all of some bytes."""
    raw = getattr(sock, "_sock", None)
    push = sock.send if raw is None or isinstance(sock, ssl.SSLSocket) else raw.send

    def send(data: bytes) -> None:
        try:
            sent = push(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            rest = memoryview(data)
            while sent < len(rest):  # not sendall: gevent's asks getsockopt each time
                sent += sock.send(rest[sent:])

    return send


def shut(sock: socket.socket, how: int = socket.SHUT_RDWR) -> None:
    """Wakes whoever reads or writes it, from another greenlet; a connection under TLS is not unwrapped by it.

    Raises OSError where it is not connected any more.
    """
    plain = getattr(sock, "_sock", None)  # gevent's sockets have one inside
    (plain if plain is not None else super(socket.socket, sock)).shutdown(how)  # type: ignore[union-attr]


def farewell(sock: socket.socket) -> None:
    """Under TLS, says that all was said: the end of the connection alone could be anybody's doing."""
    if isinstance(sock, ssl.SSLSocket):
        with suppress(OSError):  # it would wait for the peer's own
            sock._sslobj.shutdown()  # type: ignore[attr-defined]
