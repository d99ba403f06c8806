"""The router's own health checks: of an instance by its babysitter, side by side, one slow host holding up nobody."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from svc.probe import healthy
from svc.router.state import State
from svc.router.table import Target

log = logging.getLogger(__name__)

AT_ONCE = 32
RETURN_INTERVAL = 2.0  # seconds between checks of an instance that is out


class Checks:
    """`once`, called every second, checks whoever is due: the fit each `health_interval`, those that are out sooner."""

    def __init__(self, state: State, clock: Callable[[], float]) -> None:
        self._state = state
        self._clock = clock
        self._due: dict[str, float] = {}
        self._bare: set[str] = set()  # static services with nothing on port + 1

    def once(self) -> None:
        now = self._clock()
        targets = {t.name: t for t in self._state.table.targets if t.admitted()}
        self._due = {name: self._due.get(name, now) for name in targets}
        due = [t for name, t in targets.items() if self._due[name] <= now]
        if not due:
            return
        with ThreadPoolExecutor(min(AT_ONCE, len(due))) as pool:
            for target, well in zip(due, pool.map(self._check, due), strict=True):
                self._state.checked(target.name, well)
                self._due[target.name] = now + self._interval(target)

    def _interval(self, target: Target) -> float:
        interval = self._state.settings.health_interval
        return interval if target.name in self._state.table.candidates else min(interval, RETURN_INTERVAL)

    def _check(self, target: Target) -> bool:
        timeout = self._state.settings.health_timeout
        if target.name not in self._bare and healthy(target.babysitter_url + "/health", timeout):
            return True
        if target.static and healthy(target.url + "/health", timeout):
            self._bare.add(target.name)
            return True
        return False
