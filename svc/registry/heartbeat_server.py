"""The registry's server: it answers heartbeats in batches, and passes every other connection on.

    accept -> read what has arrived -> begins a heartbeat? -> yes: wait BATCH_SECONDS, read the rest -> batch -> answers
                                                           -> no, or not a usual one: `handle`, in a greenlet of its own

Nearly all connections to a registry bring one heartbeat. A greenlet, a gevent socket and a transaction for each of them
cost more than the heartbeat itself; a batch needs one greenlet and one transaction, and plain sockets suffice, because
it neither waits to read nor to write. The wait also lets the body arrive, which many clients send on its own.
"""

import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import gevent
from gevent import monkey
from gevent.pool import Pool
from gevent.server import StreamServer

from svc.registry import heartbeats
from svc.registry.heartbeats import Heartbeat

BATCH_SECONDS = 0.02
MAX_BATCH = 1000  # further heartbeats take the way of other requests, whose number is limited
DEFER_ACCEPT_SECONDS = 1  # a silent connection is accepted only after this time

_socket_type: Any = monkey.get_original("socket", "socket")


class Request(NamedTuple):
    """A connection with the bytes that were read from it; the arguments of `handle`."""

    connection: socket.socket
    address: tuple[Any, ...]
    data: bytes


class HeartbeatServer(StreamServer):
    """Accepts the connections of a listening socket.

    `renew` gets the heartbeats of a batch, each with the address of its sender, and returns the JSON of each answer, or
    None for a heartbeat that `handle` has to answer. `closes` returns whether a connection ends after a heartbeat.
    """

    def __init__(
        self,
        listener: Any,
        handle: Callable[[socket.socket, tuple[Any, ...], bytes], object],
        pool: Pool,
        renew: Callable[[Sequence[tuple[str, Heartbeat]]], list[bytes | None]],
        clock: Callable[[], float],
        closes: Callable[[Heartbeat], bool],
    ) -> None:
        super().__init__(listener, handle=handle, spawn=pool)
        # Without this option, a connection would wake the process twice: when it is open, and when its request arrives.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, DEFER_ACCEPT_SECONDS)
        self._renew = renew
        self._clock = clock
        self._closes = closes
        self._batch: list[Request] = []

    def do_read(self) -> Request | None:
        """Accept connections until one is for `handle`, and return that one; return None to be called again later.

        One call adds at most one greenlet to the pool, because it is called when the pool has room for one.
        """
        for _ in range(self.max_accept):
            try:
                descriptor, address = self.socket._accept()
            except BlockingIOError:
                return None
            connection = _socket_type(self.socket.family, self.socket.type, self.socket.proto, descriptor)
            request = self._classify(connection, address)
            if request or len(self._batch) == 1:
                return request
        return None

    def _classify(self, connection: socket.socket, address: tuple[Any, ...]) -> Request | None:
        """Add the connection to the batch if it begins a heartbeat, close it if it has ended, else return it."""
        data = _receive(connection)
        if data == b"":
            connection.close()
            return None
        request = Request(connection, address, data or b"")
        if not heartbeats.begins_heartbeat(request.data) or len(self._batch) >= MAX_BATCH:
            return request
        self._batch.append(request)
        if len(self._batch) == 1:
            self.pool.spawn(self._answer_batch)
        return None

    def _answer_batch(self) -> None:
        gevent.sleep(BATCH_SECONDS)
        batch, self._batch = [_completed(request) for request in self._batch], []
        kept, others = self._answer(batch)
        for request in others:
            self.do_handle(*request)
        if kept:
            gevent.sleep(BATCH_SECONDS)  # until most clients have closed their connections
        for connection, address, _ in kept:
            if next_request := self._classify(connection, address):
                self.do_handle(*next_request)

    def _answer(self, batch: list[Request]) -> tuple[list[Request], list[Request]]:
        """Answer the heartbeats; return the connections that stay open, and the requests that `handle` has to answer.

        The latter have changed nothing, also if the store fails: `handle` then reports the error.
        """
        parsed = [(request, heartbeats.parse_heartbeat(request.data)) for request in batch]
        usual = [(request, heartbeat) for request, heartbeat in parsed if heartbeat]
        others = [request for request, heartbeat in parsed if heartbeat is None]
        try:
            answers = self._renew([(request.address[0], heartbeat) for request, heartbeat in usual])
        except Exception:  # noqa: BLE001 - see above
            answers = [None] * len(usual)
        now, kept = self._clock(), []
        for (request, heartbeat), payload in zip(usual, answers, strict=True):
            if payload is None:
                others.append(request)
                continue
            closes = self._closes(heartbeat)
            if _send(request.connection, heartbeats.response(payload, now, closes)) and not closes:
                kept.append(request)
            else:
                request.connection.close()
        return kept, others


def _completed(request: Request) -> Request:
    """Return the request with what has arrived since, if it is incomplete."""
    if heartbeats.is_complete(request.data):
        return request
    return request._replace(data=request.data + (_receive(request.connection) or b""))


def _receive(connection: socket.socket) -> bytes | None:
    """Return what has arrived: None if nothing has, b"" if the connection has ended."""
    try:
        return connection.recv(heartbeats.MAX_HEARTBEAT_BYTES, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def _send(connection: socket.socket, data: bytes) -> bool:
    """Send the data without waiting: an answer always fits into an empty send buffer. Return whether it was sent."""
    with suppress(OSError):
        return connection.send(data, socket.MSG_DONTWAIT) == len(data)
    return False
