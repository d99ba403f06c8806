"""The greenlets of a server's connections: as many as there are descriptors for, and room for the next one."""

import logging
import resource
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from gevent.pool import Pool

from svc.perimeter.connections import SHED_SHARE, Connection, capacity, to_shed

log = logging.getLogger(__name__)
WARNING_SECONDS = 60.0  # between two lines in the log


class Sheddable(Connection, Protocol):
    @property
    def closing(self) -> bool: ...

    def shed(self) -> None: ...


S = TypeVar("S", bound=Sheddable)


class ConnectionPool(Pool):
    """Serves each connection in a greenlet. `full`, which gevent's servers ask before each accept, makes room.

    A server that is full of busy connections stops accepting until one of them ends: its backlog keeps the
    new ones, and no accept() fails.
    """

    def __init__(self, size: int, connections: Callable[[], Iterable[S]], clock: Callable[[], float]) -> None:
        super().__init__(size)
        self._connections = connections
        self._clock = clock
        self._warned = float("-inf")

    def full(self) -> bool:
        if super().full():
            self._make_room()
        return bool(super().full())

    def _make_room(self) -> None:
        """Close some connections; their places are free when their greenlets have ended, a moment later."""
        connections = list(self._connections())
        closing = sum(connection.closing for connection in connections)
        now = self._clock()
        chosen = to_shed(connections, max(1, self.size // SHED_SHARE) - closing, now)
        if chosen and now - self._warned >= WARNING_SECONDS:
            self._warned = now
            address, count = Counter(connection.address for connection in connections).most_common(1)[0]
            log.warning(
                "all %d connections are taken, %d of them by %s: those that ask for nothing are closed",
                self.size, count, address,
            )  # fmt: skip
        for connection in chosen:
            connection.shed()


def connection_limit(most: int, each: int = 1) -> int:
    """Return how many clients this process has descriptors for; see `capacity`."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most if soft == resource.RLIM_INFINITY else capacity(soft, most, each)
