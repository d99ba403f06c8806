"""The greenlets of a server's connections, limited by its descriptors; idle connections are closed at the limit."""

import logging
import resource
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from gevent.pool import Pool

from svc.perimeter.connections import CLOSE_FRACTION, Connection, clients_within, select_to_close

log = logging.getLogger(__name__)
WARNING_SECONDS = 60.0  # between two lines in the log


class Sheddable(Connection, Protocol):
    @property
    def closing(self) -> bool: ...

    def shed(self) -> None: ...


S = TypeVar("S", bound=Sheddable)


class ConnectionPool(Pool):
    """Serves each connection in a greenlet, and closes idle ones when the connection limit is reached.

    gevent's servers call `full` before each accept; sweepers call `shed_if_full`. A server that is full of busy
    connections stops accepting until one of them ends: its backlog keeps the new ones, and no accept() fails.
    """

    def __init__(self, size: int, connections: Callable[[], Iterable[S]], clock: Callable[[], float]) -> None:
        super().__init__(size)
        self._connections = connections
        self._clock = clock
        self._warned = float("-inf")

    def full(self) -> bool:
        """Return whether no connection can be accepted now, after closing idle ones."""
        self.shed_if_full()
        return bool(super().full())

    def shed_if_full(self) -> None:
        """Close idle connections if the connection limit is reached."""
        if super().full():
            self._make_room()

    def _make_room(self) -> None:
        """Close some connections; each counts until its greenlet has ended, a moment later."""
        connections = list(self._connections())
        closing = sum(connection.closing for connection in connections)
        now = self._clock()
        selected = select_to_close(connections, max(1, int(self.size * CLOSE_FRACTION)) - closing, now)
        if selected and now - self._warned >= WARNING_SECONDS:
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


def connection_limit(max_clients: int, descriptors_per_client: int = 1) -> int:
    """Return how many clients this process has descriptors for; see `clients_within`."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = soft == resource.RLIM_INFINITY
    return max_clients if unlimited else clients_within(soft, max_clients, descriptors_per_client)
