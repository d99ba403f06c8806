"""The registry's own look at the services: does what says it is running answer."""

import logging
import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

from msgspec.structs import replace

from svc.protocol.service import BABYSITTER_TYPE, Service
from svc.registry.store.base import Store

log = logging.getLogger(__name__)
T = TypeVar("T")
FAILS_AFTER = 3  # checks in a row that fail
WELL_AFTER = 2  # checks in a row that succeed, after it had failed
WIDTH = 32  # checks at a time


def passes(service: Service, answer: int) -> bool:
    """Whether a check went well whose answer had this status; 0: none came.

    A babysitter's own /health is 503 while its instance is down: to say so is its task, and it does it.
    """
    return answer == 200 or (answer > 0 and service.metadata.get("type") == BABYSITTER_TYPE)


def judged(status: str, against: int, ok: bool) -> tuple[str, int]:
    """The health status after one more check, and how many checks in a row now speak against it: pure.

    `unknown` becomes `healthy` with the first success.
    """
    if (status, ok) in (("healthy", True), ("unhealthy", False)):
        return status, 0
    needed = FAILS_AFTER if not ok else WELL_AFTER if status == "unhealthy" else 1
    return ("healthy" if ok else "unhealthy", 0) if against + 1 >= needed else (status, against + 1)


class Checks:
    """Each round asks every URL of what is running once; those that failed before come last and hold up nobody.

    The counts are kept here, the verdict in the store, which is written only
    when it changes.
    """

    def __init__(self, store: Store, probe: Callable[[str], int], observe: Callable[[bool], None]) -> None:
        self.store = store
        self.probe = probe
        self.observe = observe
        self._counts: dict[str, tuple[str, int]] = {}  # name -> its verdict, and the checks in a row against it

    def round(self) -> None:
        _, services = self.store.snapshot()
        running = sorted((s for s in services if s.status == "running"), key=lambda s: s.health_status == "unhealthy")
        by_url: dict[str, list[Service]] = {}
        for service in running:
            by_url.setdefault(service.health_url(), []).append(service)
        self._counts = {s.name: self._counts[s.name] for s in running if s.name in self._counts}
        each(lambda item: self._check(*item), by_url.items(), WIDTH)

    def _check(self, url: str, services: list[Service]) -> None:
        answer = self.probe(url)
        self.observe(all(passes(service, answer) for service in services))
        for service in services:
            self._judge(service, passes(service, answer))

    def _judge(self, service: Service, ok: bool) -> None:
        verdict, against = self._counts.get(service.name, ("", 0))
        status, against = judged(service.health_status, against if verdict == service.health_status else 0, ok)
        self._counts[service.name] = (status, against)
        if status != service.health_status:
            log.info("%s is %s: %s", service.name, status, service.health_url())
            self.store.change(service.name, lambda now: now and found(now, service, status))


def found(now: Service, asked: Service, health_status: str) -> Service:
    """With the verdict, unless it has become another meanwhile than the one that was asked: pure."""
    same = (now.status, now.health_url(), now.health_status) == (asked.status, asked.health_url(), asked.health_status)
    return replace(now, health_status=health_status) if same else now


def each(work: Callable[[T], object], items: Iterable[T], width: int) -> None:
    """Does `work` for every item, `width` at a time; returns when all is done. What one raises is logged.

    Daemon threads rather than an executor: the process need not wait for a
    slow host when it ends.
    """
    todo = list(items)
    left = iter(todo)  # a list's iterator hands each item to one thread

    def run() -> None:
        for item in left:
            try:
                work(item)
            except Exception:  # noqa: BLE001 - one item's failure is not the others'
                log.exception("a check failed")

    threads = [threading.Thread(target=run, daemon=True) for _ in range(min(width, len(todo)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
