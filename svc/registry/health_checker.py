"""Health checks: rounds that check every running service, and checks of single services on request."""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TypeVar

from msgspec.structs import replace

from svc.base.dial import AddressRefused
from svc.base.errors import RateLimited, Unavailable
from svc.protocol.service import BABYSITTER_TYPE, Service
from svc.registry.store.contract import Store

log = logging.getLogger(__name__)
T = TypeVar("T")
UNHEALTHY_AFTER_FAILURES = 3  # failed checks in a row
HEALTHY_AFTER_SUCCESSES = 2  # successful checks in a row, for a service that was unhealthy
SHARED_ROUNDS = 3  # for so many rounds, other registries rely on this one having reached a service
MIN_SHARED_SECONDS = 5.0  # minimum duration of SHARED_ROUNDS, because a busy machine may delay a round
MAX_CONCURRENT_CHECKS = 32  # limit for one round
MAX_CONCURRENT_REQUESTED_CHECKS = 32
MAX_LOGGED_REFUSALS = 1000  # number of log messages to remember, so that the same refusal is not logged again


def is_success(service: Service, status_code: int) -> bool:
    """Return whether a health check that got `status_code` (0: no answer) was a success.

    A babysitter's /health returns 503 while its instance is down, but the babysitter itself works. So any answer is a
    success for a service of type babysitter.
    """
    return status_code == 200 or (status_code > 0 and service.metadata.get("type") == BABYSITTER_TYPE)


def next_health_status(status: str, contradictions: int, succeeded: bool) -> tuple[str, int]:
    """Return the health status after one more check, and how many checks in a row have contradicted that status.

    The first success changes `unknown` to `healthy`.
    """
    if (status, succeeded) in (("healthy", True), ("unhealthy", False)):
        return status, 0
    needed = UNHEALTHY_AFTER_FAILURES if not succeeded else HEALTHY_AFTER_SUCCESSES if status == "unhealthy" else 1
    if contradictions + 1 >= needed:
        return ("healthy" if succeeded else "unhealthy"), 0
    return status, contradictions + 1


class HealthProbe:
    """A callable that sends a GET to a URL and returns the status code; 0 if there is no answer.

    An address that the registry may not connect to counts as "no answer", and is logged once.
    """

    def __init__(self, get_status: Callable[[str], int]) -> None:
        self._get_status = get_status
        self._logged: set[str] = set()

    def __call__(self, url: str) -> int:
        try:
            return self._get_status(url)
        except AddressRefused as error:
            self._log_once(f"{url} is not checked, which counts as a failed check: {error}")
            return 0

    def _log_once(self, message: str) -> None:
        if message in self._logged:
            return
        if len(self._logged) >= MAX_LOGGED_REFUSALS:
            self._logged.clear()
        self._logged.add(message)
        log.warning("%s", message)


class HealthChecker:
    """Checks the health URLs of the running services in rounds. Each round checks the unhealthy services last.

    The number of checks that contradict a health status is kept in memory. The health status itself is in the store,
    which is written only when the status changes.

    Several registries with one store check the same services. A service stays healthy as long as one of them reaches
    it: each registry shares the names of the services that it reaches, and does not mark a service as unhealthy that
    another one reaches. So a broken network of one registry removes no working instances.
    """

    def __init__(
        self,
        store: Store,
        probe: Callable[[str], int],
        count_check: Callable[[bool], None],
        interval: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store = store
        self.probe = probe
        self.count_check = count_check  # called after each check with True if it succeeded
        self.interval = interval  # seconds between two rounds
        self.clock = clock
        self._contradictions: dict[str, tuple[str, int]] = {}  # name -> health status, checks that contradict it
        self._failures: dict[str, int] = {}  # name of a service that a check has reached -> failed checks since then
        self._reached_by_others: frozenset[str] | None = None  # names of services; None: not yet read in this round

    def run_round(self) -> None:
        began, self._reached_by_others = self.clock(), None
        _, services = self.store.snapshot()
        running = sorted((s for s in services if s.status == "running"), key=lambda s: s.health_status == "unhealthy")
        by_url: dict[str, list[Service]] = {}
        for service in running:
            by_url.setdefault(service.health_url(), []).append(service)
        names = {service.name for service in running}
        self._contradictions = {name: counts for name, counts in self._contradictions.items() if name in names}
        self._failures = {name: count for name, count in self._failures.items() if name in names}
        for_each(lambda item: self._check(*item), by_url.items(), MAX_CONCURRENT_CHECKS)
        reached = [name for name, count in self._failures.items() if count < UNHEALTHY_AFTER_FAILURES]
        seconds = max(MIN_SHARED_SECONDS, SHARED_ROUNDS * (self.interval + self.clock() - began))
        with suppress(Unavailable):
            self.store.share_reached(reached, seconds)

    def _check(self, url: str, services: list[Service]) -> None:
        status_code = self.probe(url)
        self.count_check(all(is_success(service, status_code) for service in services))
        for service in services:
            with suppress(Unavailable):  # the store reports its failure itself, and the next round checks again
                self._record(service, is_success(service, status_code))

    def _record(self, service: Service, succeeded: bool) -> None:
        if succeeded or service.name in self._failures:
            self._failures[service.name] = 0 if succeeded else self._failures[service.name] + 1
        status, contradictions = self._contradictions.get(service.name, ("", 0))
        if status != service.health_status:
            contradictions = 0  # a registration or update has reset the health status since the last check
        status, contradictions = next_health_status(service.health_status, contradictions, succeeded)
        if status == "unhealthy" != service.health_status and service.name in self._others():
            # The service keeps its status; if the next check fails, too, the other registries are queried again.
            status, contradictions = service.health_status, UNHEALTHY_AFTER_FAILURES - 1
        self._contradictions[service.name] = (status, contradictions)
        if status != service.health_status:
            log.info("%s is %s: %s", service.name, status, service.health_url())
            self.store.change(service.name, lambda now: now and with_health_status(now, service, status))

    def _others(self) -> frozenset[str]:
        """Return the names of the services that other registries reach; they are read once in each round."""
        if self._reached_by_others is None:
            self._reached_by_others = self.store.reached_by_others()
        return self._reached_by_others


def with_health_status(now: Service, checked: Service, health_status: str) -> Service:
    """Return the service with the new health status, or unchanged if its state has changed since the check.

    `checked` is the service at the time of the check, and `now` is the current service.
    """
    state, checked_state = ((service.status, service.health_url(), service.health_status) for service in (now, checked))
    return replace(now, health_status=health_status) if state == checked_state else now


class PendingCheck:
    """A health check in progress, with the status code for the callers that wait for it."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.status_code = 0


class SharedProbe:
    """A probe for checks on request: concurrent requests for the same URL share one check."""

    def __init__(self, probe: Callable[[str], int], limit: int = MAX_CONCURRENT_REQUESTED_CHECKS) -> None:
        self._probe = probe
        self._limit = limit
        self._checks: dict[str, PendingCheck] = {}
        self._lock = threading.Lock()

    def __call__(self, url: str, waiting: Callable[[], AbstractContextManager[None]] = nullcontext) -> int:
        """Return the status code with which the URL answers; 0 if there is no answer.

        If another caller is checking the URL already, wait for that result, inside the context manager `waiting()`.
        Raise RateLimited if `limit` other URLs are being checked.
        """
        with self._lock:
            shared = self._checks.get(url)
            if shared is None:
                if len(self._checks) >= self._limit:
                    raise RateLimited(f"{self._limit} checks by request are under way; try again in a second")
                own = self._checks[url] = PendingCheck()
        if shared is not None:
            with waiting():
                shared.done.wait()
            return shared.status_code
        try:
            own.status_code = self._probe(url)
        finally:
            with self._lock:
                del self._checks[url]
            own.done.set()
        return own.status_code


def for_each(work: Callable[[T], object], items: Iterable[T], concurrency: int) -> None:
    """Call `work` with every item, `concurrency` at a time, and return when all are done. Log what `work` raises.

    The threads are daemons, unlike those of an executor: the end of the process does not wait for a slow host.
    """
    todo = list(items)
    remaining = iter(todo)  # threads can share a list's iterator: each item goes to exactly one

    def run() -> None:
        for item in remaining:
            try:
                work(item)
            except Exception:  # noqa: BLE001 - the other items must still be processed
                log.exception("a health check failed")

    threads = [threading.Thread(target=run, daemon=True) for _ in range(min(concurrency, len(todo)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
