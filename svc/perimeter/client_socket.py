"""Client connections that record what they wait for, so that a sweeper can end those that wait too long."""

import select
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from http import HTTPStatus
from typing import Any

import gevent.socket
import msgspec
from gevent import getcurrent, monkey

from svc.base.errors import HeadTooLarge, RequestTimeout, SvcError, error_object
from svc.perimeter.connections import ConnectionDeadlines, ConnectionStage, expires

POLLRDHUP = getattr(select, "POLLRDHUP", 0x2000)


class ClientSocket(gevent.socket.socket):
    """The connection of one client, created in the greenlet that serves it.

    Reading and writing set no timers. They only record the connection's stage, and `ClientSockets.sweep` ends the
    connections that have stayed in their stage past its deadline. Reading raises RequestTimeout if the request does
    not arrive in time, and HeadTooLarge if the part being read is longer than `max_bytes`.
    """

    def __init__(self, sock: socket.socket, address: str, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(sock.family, sock.type, sock.proto, sock.detach())
        self.address = address
        self.closing = False
        self.since = clock()
        self.max_bytes = 0  # maximum size of the part of the request being read; 0: no limit
        self._stage = self._waiting_stage = ConnectionStage.SILENT
        self._answering_stage = ConnectionStage.BUSY
        self._begun = 0.0  # when the first byte of the request arrived; 0: not yet
        self._bytes = 0
        self._unread = b""
        self._error: SvcError | None = None
        self._clock = clock
        self._greenlet = getcurrent()

    @property
    def stage(self) -> ConnectionStage:
        return ConnectionStage.BUSY if self.closing else self._stage

    # Methods for the code that reads and answers requests.

    def begin_waiting(self, max_bytes: int) -> None:
        """Record that the connection now waits for its next request."""
        if self._begun:
            self._waiting_stage, self.since = ConnectionStage.IDLE, self._clock()
        self._begun, self._bytes, self.max_bytes = 0.0, 0, max_bytes
        self._answering_stage = ConnectionStage.BUSY

    def begin_answering(self) -> None:
        """Record that the head of the request was read, and that the request is being answered."""
        self.max_bytes = 0
        self._enter(ConnectionStage.BUSY)

    @contextmanager
    def polling(self) -> Iterator[None]:
        """Record that the handler waits for a change (long poll).

        Such a connection may be closed when the server has reached its connection limit.
        """
        self._enter(ConnectionStage.POLLING)
        try:
            yield
        finally:
            self._enter(ConnectionStage.BUSY)

    def _enter(self, stage: ConnectionStage) -> None:
        self._answering_stage = self._stage = stage
        self.since = self._clock()

    def unread(self, data: bytes) -> None:
        """Put back the bytes that the server has read from the connection: the next `recv` returns them."""
        if data:
            self._unread, self._begun, self._bytes = data, self._clock(), len(data)

    def recv(self, size: int, *flags: int) -> bytes:
        if self._unread:
            data, self._unread = self._unread[:size], self._unread[size:]
            return data
        if self._error is not None:
            return b""
        if self._begun:
            self._stage, self.since = ConnectionStage.REQUEST, self._begun
        else:
            self._stage = self._waiting_stage
        data = super().recv(size, *flags)
        self._stage = self._answering_stage
        if self._error is not None and self._begun:
            raise self._error
        if self.closing:  # bytes that arrived before `shed` can still be read, but must not be served as a request
            return b""
        self._begun = self._begun or self._clock()
        self._bytes += len(data)
        if 0 < self.max_bytes < self._bytes:
            self._error = HeadTooLarge(f"the request is over {self.max_bytes} bytes")
            raise self._error
        return data

    def recv_into(self, buffer: bytearray | memoryview, size: int = 0, *flags: int) -> int:
        data = self.recv(size or len(buffer), *flags)
        buffer[: len(data)] = data
        return len(data)

    def sendall(self, data: bytes | bytearray | memoryview, *flags: int) -> None:
        self._stage, self.since = ConnectionStage.SENDING, self._clock()
        try:
            super().sendall(data, *flags)
        finally:
            self._stage = self._answering_stage

    def refuse(self, error: SvcError) -> None:
        """Send an error response; the connection ends after it."""
        with suppress(OSError):
            self.sendall(error_answer(error))

    # Methods for the sweeper, which runs in another greenlet.

    def expire(self, seconds: float) -> None:
        """End the connection, because it has waited too long.

        If a request has arrived in part, first answer it with 408; the error names `seconds`, the deadline of a
        request.
        """
        if self._stage is ConnectionStage.REQUEST and self._error is None:
            self._error = RequestTimeout(f"the request did not arrive within {seconds:g} s")
            self._shut(socket.SHUT_RD)
        else:
            self._shut(socket.SHUT_RDWR)

    def shed(self) -> None:
        """Close the connection. For a long poll, also kill its greenlet, which would not notice the closed socket."""
        polling = self.stage is ConnectionStage.POLLING
        self.closing = True
        self._shut(socket.SHUT_RDWR)
        if polling:
            self._greenlet.kill(block=False)

    def _shut(self, how: int) -> None:
        with suppress(OSError):  # the socket is no longer connected
            self._sock.shutdown(how)


class ClientSockets:
    """The open connections of a server; `sweep` ends those that have passed a deadline."""

    def __init__(self, deadlines: ConnectionDeadlines, clock: Callable[[], float] = time.monotonic) -> None:
        self.open: set[ClientSocket] = set()
        self._deadlines = deadlines
        self._clock = clock

    def sweep(self) -> None:
        """End connections that have waited too long, and long polls whose client has closed its half, as nginx does."""
        now = self._clock()
        for client in list(self.open):
            if expires(client.stage, client.since, self._deadlines) <= now:
                client.expire(self._deadlines.request)
        for client in _closed_by_client([client for client in self.open if client.stage is ConnectionStage.POLLING]):
            client.shed()


def polling(environ: Mapping[str, Any]) -> AbstractContextManager[None]:
    """Return the context manager that a WSGI handler enters while it waits for a change.

    The handler must enter it, because the server cannot recognise a long poll from its method and query: both can be
    written in more than one way.
    """
    client = environ.get("gunicorn.socket")
    return client.polling() if isinstance(client, ClientSocket) else nullcontext()


def _closed_by_client(clients: Iterable[ClientSocket]) -> list[ClientSocket]:
    """Return the connections whose client has closed its half, that is, sends no more data.

    This calls the system's poll(), because gevent's poll() does not report a closed half.
    """
    poll, by_descriptor = monkey.get_original("select", "poll")(), {}
    for client in clients:
        by_descriptor[client.fileno()] = client
        poll.register(client.fileno(), POLLRDHUP)
    return [by_descriptor[descriptor] for descriptor, _ in poll.poll(0)]


def error_answer(error: SvcError) -> bytes:
    """Return a complete HTTP error response for a request that never reaches the application."""
    payload = msgspec.json.encode(error_object(error))
    return (
        f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\n\r\n"
    ).encode() + payload
