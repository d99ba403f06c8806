"""The connections on which babysitters report loads: they stay open, because a report comes every few seconds.

    report -> ROUND_SECONDS later: read what has arrived on all connections, answer the reports together, wait again

A report is worth less than a heartbeat and comes more often, so it must cost less. A connection that stays open saves
the handshake, and a round serves the reports of ROUND_SECONDS in one wake-up of the process. The connections are in an
epoll of their own, so that gevent's loop watches one descriptor for all of them.
"""

import logging
import select
import time
from collections.abc import Callable, Iterable
from typing import Any

import gevent
from gevent import monkey
from gevent.socket import wait_read

from svc.registry.heartbeat_request import RawRequest, read_on

ROUND_SECONDS = 0.1
MAX_ROUND_REPORTS = 256
SWEEP_INTERVAL_SECONDS = 10.0
MAX_IDLE_SECONDS = 60.0

log = logging.getLogger(__name__)
_epoll_type: Any = monkey.get_original("select", "epoll")


class KeptConnections:
    """The kept connections, at most `limit`.

    `answer` answers the requests of a round, and returns those to keep open.
    """

    def __init__(
        self,
        limit: int,
        answer: Callable[[list[RawRequest]], list[RawRequest]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit = limit
        self._answer = answer
        self._clock = clock
        self._epoll = _epoll_type()
        self._waiting: dict[int, tuple[RawRequest, float]] = {}  # descriptor -> connection, silent since
        self._swept = clock()
        self._loop: Any = None

    @property
    def has_room(self) -> bool:
        return len(self._waiting) < self._limit

    def add(self, request: RawRequest) -> None:
        """Keep the connection of a report that was just answered."""
        descriptor = request.connection.fileno()
        self._waiting[descriptor] = (request, self._clock())
        self._epoll.register(descriptor, select.EPOLLIN | select.EPOLLONESHOT)
        if self._loop is None:
            self._loop = gevent.spawn(self._run)

    def close(self) -> None:
        """Close all connections: their clients connect to the next worker."""
        if self._loop is not None:
            self._loop.kill(block=False)
        for request, _ in self._waiting.values():
            request.connection.close()
        self._waiting.clear()

    def _run(self) -> None:
        while True:
            wait_read(self._epoll.fileno())
            gevent.sleep(ROUND_SECONDS)  # more reports arrive meanwhile, and are answered together
            try:
                self._run_round()
            except Exception:  # noqa: BLE001 - the loop must go on
                log.exception("a round of reports failed")

    def _run_round(self) -> None:
        now, arrived = self._clock(), []
        for descriptor, _ in self._epoll.poll(0, MAX_ROUND_REPORTS):
            entry = self._waiting.pop(descriptor, None)
            request = read_on(entry[0]) if entry else None
            if request is not None:
                arrived.append(request)
        self._wait_again(self._answer(arrived), now)
        if now - self._swept >= SWEEP_INTERVAL_SECONDS:
            self._swept = now
            self._close_idle(now)

    def _wait_again(self, requests: Iterable[RawRequest], now: float) -> None:
        for request in requests:
            descriptor = request.connection.fileno()
            self._waiting[descriptor] = (request, now)
            self._epoll.modify(descriptor, select.EPOLLIN | select.EPOLLONESHOT)

    def _close_idle(self, now: float) -> None:
        for descriptor, (request, since) in list(self._waiting.items()):
            if now - since >= MAX_IDLE_SECONDS:
                del self._waiting[descriptor]
                request.connection.close()
