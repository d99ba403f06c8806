"""Sockets as the hot path uses them: gevent's, plain ones, and those under TLS.

gevent's `recv` tries first and waits only after the system call has failed, and
its `send` and `recv` each cost a frame of Python. Under gevent we wait first,
and then speak to the socket inside: a relayed request costs a fifth less.
"""

import fcntl
import select
import socket
import ssl
import sys
import termios
from collections.abc import Callable, Iterable
from contextlib import suppress

from gevent import get_hub, getcurrent

RECV = 65536
POLLRDHUP = getattr(select, "POLLRDHUP", 0x2000)


def unread_bytes(sock: socket.socket) -> int:
    """Return how many received bytes wait in the kernel."""
    return int.from_bytes(fcntl.ioctl(sock.fileno(), termios.FIONREAD, bytes(4)), sys.byteorder)


def receiver(sock: socket.socket) -> Callable[[], bytes]:
    """What to call for more bytes, where none are there yet; empty at the end, OSError when it is broken off."""
    raw = getattr(sock, "_sock", None)
    if raw is None or isinstance(sock, ssl.SSLSocket):  # decrypted bytes may lie in it already
        return lambda: sock.recv(RECV)
    event, recv, rest = sock._read_event, raw.recv, get_hub().switch  # type: ignore[attr-defined]

    def receive() -> bytes:
        event.start(getcurrent().switch)
        try:
            rest()
        finally:
            event.stop()
        try:
            return recv(RECV)
        except BlockingIOError:  # it was not for us after all
            return sock.recv(RECV)

    return receive


def pump(
    source: socket.socket, sink: socket.socket, passes: Callable[[bytes], bool], send: Callable[[bytes], None]
) -> Callable[[], bytes] | None:
    """What to call for more bytes of `source`, after all those that `passes` let through have been sent to `sink`.

    `send` is the sender of `sink`, for what it does not take at once.

    Under gevent that happens in the hub: this greenlet is not woken for them, and
    a streamed event costs a third less. Where that is not to be had, None. What is
    returned has not passed; nothing is the end of `source`. Raises OSError when
    `sink` is broken off.
    """
    ours, theirs = getattr(source, "_sock", None), getattr(sink, "_sock", None)
    if ours is None or theirs is None or isinstance(source, ssl.SSLSocket) or isinstance(sink, ssl.SSLSocket):
        return None
    recv, push = ours.recv, theirs.send
    readable, hub, wake = source._read_event, get_hub(), getcurrent().switch  # type: ignore[attr-defined]

    def relay() -> None:
        unsent = b""
        try:
            data = recv(RECV)
        except BlockingIOError:  # it was not for us after all
            return
        except OSError:
            data = b""
        if passes(data):
            try:
                sent = push(data)
            except OSError:  # whoever sends the rest learns what it is
                sent = 0
            if sent == len(data):
                return
            unsent, data = data[sent:], b""
        wake((unsent, data))

    def receive() -> bytes:
        unsent = data = b""
        while True:
            readable.start(relay)
            try:
                unsent, data = hub.switch()
            finally:
                readable.stop()
            if not unsent:
                return data
            send(unsent)

    return receive


def sender(sock: socket.socket, note_blocked: Callable[[bool], None] | None = None) -> Callable[[bytes], None]:
    """What to call to send all of some bytes.

    `note_blocked` is called with True whenever the peer takes no more, and with False when it has taken all.
    """

    def send_rest(data: bytes, sent: int = 0) -> None:
        rest = memoryview(data)
        while sent < len(rest):  # not sendall: gevent's asks getsockopt each time
            if note_blocked is not None:
                note_blocked(True)
            sent += sock.send(rest[sent:])
        if note_blocked is not None:
            note_blocked(False)

    raw = getattr(sock, "_sock", None)
    if raw is None or isinstance(sock, ssl.SSLSocket):  # its send waits itself
        return send_rest
    push = raw.send

    def send(data: bytes) -> None:
        try:
            sent = push(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            send_rest(data, sent)

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


def poller() -> "select.poll":
    """The system's own poll(): gevent's never reports POLLRDHUP."""
    try:
        from gevent import monkey

        return monkey.get_original("select", "poll")()
    except ImportError:
        return select.poll()


def readable(descriptors: Iterable[int]) -> set[int]:
    """Those with something to read; for an idle connection that is its end."""
    poll = poller()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return {fd for fd, _ in poll.poll(0)}
