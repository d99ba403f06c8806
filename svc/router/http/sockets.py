"""Reads and writes of sockets on the hot path: gevent sockets, plain sockets, and sockets under TLS.

gevent's `recv` waits only after a system call has failed, and its `send` and `recv` each cost a frame of Python. Here
the greenlet waits first and then calls the plain socket inside the gevent socket. This makes a relayed request a fifth
cheaper.
"""

import fcntl
import select
import socket
import ssl
import sys
import termios
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Protocol

from gevent import get_hub, getcurrent

from svc.router.http.stream_poll import StreamPoll

RECEIVE_BYTES = 65536
POLLRDHUP = getattr(select, "POLLRDHUP", 0x2000)


def unread_bytes(sock: socket.socket) -> int:
    """Return the number of received bytes that wait in the kernel."""
    return int.from_bytes(fcntl.ioctl(sock.fileno(), termios.FIONREAD, bytes(4)), sys.byteorder)


def takes_bytes(sock: socket.socket) -> bool:
    """Return whether the peer takes a few hundred bytes without a wait, or the connection is broken."""
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLOUT)
    return bool(poll.poll(0))


class Receive(Protocol):
    def __call__(self, is_expected: bool = False) -> bytes: ...


def receiver(sock: socket.socket, size: int = RECEIVE_BYTES) -> Receive:
    """Return a function that waits for more bytes and returns them, at most `size`.

    The function returns empty bytes at the end of the connection, and raises OSError if the connection broke. With
    `is_expected`, it first tries to receive without waiting: this is cheaper if bytes have probably arrived already.
    """
    raw = getattr(sock, "_sock", None)
    if raw is None or isinstance(sock, ssl.SSLSocket):  # under TLS, the socket may hold decrypted bytes already
        return lambda is_expected=False: sock.recv(size)
    event, recv, wait = sock._read_event, raw.recv, get_hub().switch  # type: ignore[attr-defined]  # gevent's own

    def receive(is_expected: bool = False) -> bytes:
        if is_expected:
            try:
                return recv(size)
            except BlockingIOError:
                pass
        event.start(getcurrent().switch)
        try:
            wait()
        finally:
            event.stop()
        try:
            return recv(size)
        except BlockingIOError:  # a spurious wakeup
            return sock.recv(size)

    return receive


def pump(
    source: socket.socket,
    sink: socket.socket,
    passes: Callable[[bytes], bool],
    send: Callable[[bytes], None],
    stream_poll: Callable[[], StreamPoll],
) -> Callable[[], bytes] | None:
    """Return a function that copies bytes from `source` to `sink` until `passes` rejects some, and then returns those.

    Bytes for which `passes` is true are sent in gevent's hub, without waking this greenlet: a streamed event costs a
    third less. `send` is the sender of `sink`, for bytes that the socket does not take at once. If many streams are
    ready at once, `stream_poll` decides when this one is read, but never delays its first bytes. The function returns
    empty bytes at the end of `source`, and raises OSError if `sink` is broken. `pump` returns None without gevent and
    under TLS, where copying in the hub is impossible.
    """
    plain_source, plain_sink = getattr(source, "_sock", None), getattr(sink, "_sock", None)
    if (
        plain_source is None
        or plain_sink is None
        or isinstance(source, ssl.SSLSocket)
        or isinstance(sink, ssl.SSLSocket)
    ):
        return None
    recv, push = plain_source.recv, plain_sink.send
    readable, hub, wake = source._read_event, get_hub(), getcurrent().switch  # type: ignore[attr-defined]  # gevent's own
    descriptor, poll = source.fileno(), stream_poll()
    has_begun = is_polled = False

    def relay() -> None:
        nonlocal has_begun
        unsent = b""
        try:
            data = recv(RECEIVE_BYTES)
        except BlockingIOError:  # a spurious wakeup
            return
        except OSError:
            data = b""
        if passes(data):
            try:
                sent = push(data)
            except OSError:  # the call of `send` below raises it again, in the greenlet
                sent = 0
            if sent == len(data):
                has_begun = True
                return
            unsent, data = data[sent:], b""
        wake((unsent, data))

    def leave_poll() -> None:
        nonlocal is_polled
        is_polled = False
        poll.remove(descriptor)
        wake((b"", None))  # `receive` starts the other reader: two functions that refer to each other would be a cycle

    def relay_or_yield() -> None:
        nonlocal is_polled
        if poll.is_busy() and has_begun:
            is_polled = True
            readable.stop()
            poll.start(descriptor, relay, leave_poll)
        else:
            relay()

    def receive() -> bytes:
        while True:
            if is_polled:
                poll.start(descriptor, relay, leave_poll)
            else:
                readable.start(relay_or_yield)
            try:
                unsent, data = hub.switch()  # the arguments with which `wake` was called
            finally:
                if is_polled:
                    poll.pause(descriptor)
                else:
                    readable.stop()
            if unsent:
                send(unsent)
            elif data is not None:
                return data

    return receive


def sender(
    sock: socket.socket, note_blocked: Callable[[bool], None] | None = None
) -> Callable[[bytes | memoryview], None]:
    """Return a function that sends all the bytes it is given.

    `note_blocked` is called with True whenever the peer takes no more bytes, and with False when it has taken all.
    """

    def send_rest(data: bytes | memoryview, sent: int = 0) -> None:
        rest = memoryview(data)
        while sent < len(rest):  # not with gevent's sendall, which calls getsockopt each time
            if note_blocked is not None:
                note_blocked(True)
            sent += sock.send(rest[sent:])
        if note_blocked is not None:
            note_blocked(False)

    raw = getattr(sock, "_sock", None)
    if raw is None or isinstance(sock, ssl.SSLSocket):  # the `send` of these sockets waits by itself
        return send_rest
    push = raw.send

    def send(data: bytes | memoryview) -> None:
        try:
            sent = push(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            send_rest(data, sent)

    return send


def pair_sender(sock: socket.socket) -> Callable[[bytes, bytes], None]:
    """Return a function that sends a head and a body without copying them into one piece."""
    send, raw = sender(sock), getattr(sock, "_sock", None)
    push = None if raw is None or isinstance(sock, ssl.SSLSocket) else raw.sendmsg

    def send_pair(head: bytes, body: bytes) -> None:
        sent = 0
        if push is not None:
            try:
                sent = push((head, body))
            except BlockingIOError:
                sent = 0
        if sent < len(head):
            send(head[sent:])
            sent = len(head)
        if sent < len(head) + len(body):
            send(memoryview(body)[sent - len(head) :])

    return send_pair


def shut(sock: socket.socket, how: int = socket.SHUT_RDWR) -> None:
    """Shut a socket down from another greenlet, which wakes the socket's readers and writers. TLS is not unwrapped.

    Raise OSError if the socket is not connected any more.
    """
    plain = getattr(sock, "_sock", None)  # a gevent socket has a plain socket inside
    (plain if plain is not None else super(socket.socket, sock)).shutdown(how)  # type: ignore[union-attr]  # gevent's socket has no such super


def send_close_notify(sock: socket.socket) -> None:
    """Send TLS's close_notify, so that the client can distinguish the end from a truncation by an attacker."""
    if isinstance(sock, ssl.SSLSocket):
        with suppress(OSError):  # raised instead of waiting for the peer's close_notify
            sock._sslobj.shutdown()  # type: ignore[attr-defined]  # no public method sends close_notify


def poller() -> "select.poll":
    """Return the system's own poll object: gevent's never reports POLLRDHUP."""
    try:
        from gevent import monkey

        return monkey.get_original("select", "poll")()
    except ImportError:
        return select.poll()


def readable(descriptors: Iterable[int]) -> set[int]:
    """Return the descriptors from which bytes, or the end of the connection, can be read."""
    poll = poller()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return {fd for fd, _ in poll.poll(0)}
