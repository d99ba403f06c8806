"""A client's connection that knows what it waits for, so that a sweeper can end what waits too long."""

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

from svc.base.errors import HeadTooLarge, RequestTimeout, SvcError, body
from svc.perimeter.connections import Deadlines, Stage, expires

POLLRDHUP = getattr(select, "POLLRDHUP", 0x2000)


class ClientSocket(gevent.socket.socket):
    """The connection of one client, made in the greenlet that serves it.

    No operation has a timer of its own: each notes its stage, and `ClientSockets.sweep` ends those that are late.
    A request that does not arrive in time raises RequestTimeout where it is read, one with more than `max_bytes`
    HeadTooLarge.
    """

    def __init__(self, sock: Any, address: str, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(sock.family, sock.type, sock.proto, sock.detach())
        self.address = address
        self.closing = False
        self.since = clock()
        self.max_bytes = 0  # of the request, as far as it may be read now; 0: any number
        self._stage = self._resting = Stage.SILENT
        self._working = Stage.BUSY
        self._begun = 0.0  # when the first byte of the request came
        self._bytes = 0
        self._unread = b""
        self._error: SvcError | None = None
        self._clock = clock
        self._greenlet = getcurrent()

    @property
    def stage(self) -> Stage:
        return Stage.BUSY if self.closing else self._stage

    # For what reads and answers requests.

    def rest(self, max_bytes: int) -> None:
        """Wait for another request from now on."""
        if self._begun:
            self._resting, self.since = Stage.IDLE, self._clock()
        self._begun, self._bytes, self.max_bytes = 0.0, 0, max_bytes
        self._working = Stage.BUSY

    def work(self) -> None:
        """Answer the request whose head was read."""
        self.max_bytes = 0
        self._work_as(Stage.BUSY)

    @contextmanager
    def polling(self) -> Iterator[None]:
        """Wait for a change that the client has asked for; meanwhile a full server may close the connection."""
        self._work_as(Stage.POLLING)
        try:
            yield
        finally:
            self._work_as(Stage.BUSY)

    def _work_as(self, stage: Stage) -> None:
        self._working = self._stage = stage
        self.since = self._clock()

    def unread(self, data: bytes) -> None:
        """Let these bytes be received again."""
        self._unread = data

    def recv(self, size: int, *flags: int) -> bytes:
        if self._unread:
            data, self._unread = self._unread[:size], self._unread[size:]
            return data
        if self._error is not None:
            return b""
        if self._begun:
            self._stage, self.since = Stage.REQUEST, self._begun
        else:
            self._stage = self._resting
        data = super().recv(size, *flags)
        self._stage = self._working
        if self._error is not None and self._begun:
            raise self._error
        if self.closing:  # what had arrived before it was shut comes nevertheless; a request would hold the place
            return b""
        self._begun = self._begun or self._clock()
        self._bytes += len(data)
        if 0 < self.max_bytes < self._bytes:
            self._error = HeadTooLarge(f"the request is over {self.max_bytes} bytes")
            raise self._error
        return data

    def recv_into(self, buffer: Any, size: int = 0, *flags: int) -> int:
        data = self.recv(size or len(buffer), *flags)
        buffer[: len(data)] = data
        return len(data)

    def sendall(self, data: Any, *flags: int) -> None:
        self._stage, self.since = Stage.SENDING, self._clock()
        try:
            super().sendall(data, *flags)
        finally:
            self._stage = self._working

    def refuse(self, error: SvcError) -> None:
        """Send an error instead of an answer; the connection ends with it."""
        with suppress(OSError):
            self.sendall(error_answer(error))

    # For the sweeper, which runs in another greenlet.

    def expire(self, seconds: float) -> None:
        """End what has waited for too long: a request is told so, anything else is cut."""
        if self._stage is Stage.REQUEST and self._error is None:
            self._error = RequestTimeout(f"the request did not arrive within {seconds:g} s")
            self._shut(socket.SHUT_RD)
        else:
            self._shut(socket.SHUT_RDWR)

    def shed(self) -> None:
        """Close it; a poll waits for no socket, and ends with its greenlet."""
        polling = self.stage is Stage.POLLING
        self.closing = True
        self._shut(socket.SHUT_RDWR)
        if polling:
            self._greenlet.kill(block=False)

    def _shut(self, how: int) -> None:
        with suppress(OSError):  # it is not connected any more
            self._sock.shutdown(how)


class ClientSockets:
    """The open connections of a server, and the look at all of them that ends what is late or gone."""

    def __init__(self, deadlines: Deadlines, clock: Callable[[], float] = time.monotonic) -> None:
        self.open: set[ClientSocket] = set()
        self._deadlines = deadlines
        self._clock = clock

    def sweep(self) -> None:
        """End what has waited for too long, and polls whose client has left: half-closed counts, as in nginx."""
        now = self._clock()
        for client in list(self.open):
            if expires(client.stage, client.since, self._deadlines) <= now:
                client.expire(self._deadlines.request)
        for client in _gone([client for client in self.open if client.stage is Stage.POLLING]):
            client.shed()


def polling(environ: Mapping[str, Any]) -> AbstractContextManager[None]:
    """Return the context in which the handler of a WSGI request waits for a change: gunicorn's environ has the socket.

    Only the handler knows whether it waits: a method or a query may be written in more than one way.
    """
    client = environ.get("gunicorn.socket")
    return client.polling() if isinstance(client, ClientSocket) else nullcontext()


def _gone(clients: Iterable[ClientSocket]) -> list[ClientSocket]:
    """Return those whose client has closed its side. gevent's poll() never reports that, the system's own does."""
    poll, by_descriptor = monkey.get_original("select", "poll")(), {}
    for client in clients:
        by_descriptor[client.fileno()] = client
        poll.register(client.fileno(), POLLRDHUP)
    return [by_descriptor[descriptor] for descriptor, _ in poll.poll(0)]


def error_answer(error: SvcError) -> bytes:
    """Return a whole answer in the contract's shape, for requests that never reach the application."""
    payload = msgspec.json.encode(body(error))
    return (
        f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\n\r\n"
    ).encode() + payload
