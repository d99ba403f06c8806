"""Serve connections within limits: every connection has deadlines, and idle ones make room for new ones."""

import logging
import resource
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from gevent import Greenlet
from gevent.pool import Pool

from svc.perimeter.client_socket import ClientSocket, ClientSockets
from svc.perimeter.connections import (
    CLOSE_FRACTION,
    ConnectionDeadlines,
    StagedConnection,
    clients_within,
    select_to_close,
)

log = logging.getLogger(__name__)
LOG_INTERVAL_SECONDS = 60.0  # minimum between two warnings about a full server


class SheddableConnection(StagedConnection, Protocol):
    """A connection that the pool may close."""

    @property
    def closing(self) -> bool: ...

    def shed(self) -> None: ...


S = TypeVar("S", bound=SheddableConnection)


class ConnectionPool(Pool):
    """Serves each connection in a greenlet, and closes idle ones when the connection limit is reached.

    gevent's servers call `full` before each accept; sweepers call `shed_if_full`. If all connections are busy, the
    server accepts no connection until one of them ends. Meanwhile new connections wait in the backlog, so that no
    accept() fails for lack of a descriptor. A connection that was accepted without a greenlet (see `HeartbeatServer`)
    waits in `spawn` until another one ends.
    """

    def __init__(self, size: int, connections: Callable[[], Iterable[S]], clock: Callable[[], float]) -> None:
        super().__init__(size)
        self._connections = connections
        self._clock = clock
        self._waiting = 0  # number of calls of `add` that wait for a place
        self._warned = float("-inf")

    def full(self) -> bool:
        """Close idle connections if the limit is reached; return whether no connection can be accepted now."""
        self.shed_if_full()
        return bool(super().full())

    def add(self, greenlet: Greenlet, blocking: bool = True, timeout: float | None = None) -> None:
        """Add a greenlet when there is a place for it; close idle connections to make one. `spawn` calls this."""
        self._waiting += 1
        try:
            self.shed_if_full()
            super().add(greenlet, blocking, timeout)
        finally:
            self._waiting -= 1
        if self._waiting:
            self.shed_if_full()

    def shed_if_full(self) -> None:
        """Close idle connections if the connection limit is reached."""
        if super().full():
            self._make_room()

    def _make_room(self) -> None:
        """Close some idle connections. Each counts towards the limit until its greenlet ends a moment later."""
        connections = list(self._connections())
        closing = sum(connection.closing for connection in connections)
        now = self._clock()
        selected = select_to_close(connections, max(1, int(self.size * CLOSE_FRACTION)) - closing, now)
        if selected and now - self._warned >= LOG_INTERVAL_SECONDS:
            self._warned = now
            address, count = Counter(connection.address for connection in connections).most_common(1)[0]
            log.warning(
                "all %d connections are in use, %d of them by %s: idle ones are closed; raise the descriptor limit "
                "(ulimit -n), or look at that client",
                self.size,
                count,
                address,
            )
        for connection in selected:
            connection.shed()


class ConnectionLimits:
    """The connection limit and the deadlines of a server that has at most `max_clients` clients.

    A server serves each client in a greenlet of `pool` inside the context `client`, and calls `sweep` once a second.
    """

    def __init__(self, deadlines: ConnectionDeadlines, max_clients: int, descriptors_per_client: int = 1) -> None:
        self.clients = ClientSockets(deadlines)
        size = connection_limit(max_clients, descriptors_per_client)
        self.pool = ConnectionPool(size, lambda: self.clients.open, time.monotonic)

    @contextmanager
    def client(self, sock: socket.socket, address: str) -> Iterator[ClientSocket]:
        """Yield the connection as a ClientSocket under these limits, and close it at the end.

        An OSError in the block is suppressed: it means that the client has broken the connection.
        """
        client = ClientSocket(sock, address)
        self.clients.open.add(client)
        try:
            yield client
        except OSError:
            pass
        finally:
            self.clients.open.discard(client)
            client.close()

    def sweep(self) -> None:
        """End connections that have waited too long; close idle ones if the connection limit is reached."""
        self.clients.sweep()
        self.pool.shed_if_full()


def connection_limit(max_clients: int, descriptors_per_client: int = 1) -> int:
    """Return how many clients the descriptor limit of this process allows, `max_clients` at most."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = soft == resource.RLIM_INFINITY
    return max_clients if unlimited else clients_within(soft, max_clients, descriptors_per_client)
