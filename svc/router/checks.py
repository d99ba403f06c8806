"""The router's own health checks: of an instance by its babysitter, side by side, one slow host holding up nobody."""

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress

from svc.instance import babysitter_url
from svc.probe import healthy
from svc.router.state import State
from svc.router.table import Target

RETURN_INTERVAL = 2.0  # seconds between checks of an instance that is out

Spawn = Callable[[Callable[[Target], None], Target], object]


def spawn(work: Callable[[Target], None], target: Target) -> None:
    threading.Thread(target=work, args=(target,), name=f"check {target.name}", daemon=True).start()


class Checks:
    """`once`, called every second, checks whoever is due: the fit each `health_interval`, those that are out sooner."""

    def __init__(self, state: State, clock: Callable[[], float], spawn: Spawn = spawn) -> None:
        self._state = state
        self._clock = clock
        self._spawn = spawn
        self._timeout = state.settings.health_timeout
        self._ca = state.settings.upstream_ca or system_ca()
        self._due: dict[str, float] = {}
        self._busy: set[str] = set()

    def once(self) -> None:
        now = self._clock()
        targets = [t for t in self._state.table.targets if t.admitted()]
        self._due = {t.name: self._due.get(t.name, now) for t in targets}
        for target in targets:
            if self._due[target.name] <= now and target.name not in self._busy:
                self._busy.add(target.name)
                self._spawn(self._check, target)

    def _check(self, target: Target) -> None:
        try:
            self._state.checked(target.name, healthy(self._url(target) + "/health", self._timeout, self._ca or True))
        finally:
            self._due[target.name] = self._clock() + self._interval(target)
            self._busy.discard(target.name)

    def _interval(self, target: Target) -> float:
        interval = self._state.settings.health_interval
        return interval if target.name in self._state.table.candidates else min(interval, RETURN_INTERVAL)

    def _url(self, target: Target) -> str:
        """Where to ask: its babysitter, but a static service itself, if nothing of its own is on the next port."""
        if not target.static or target.babysitter_url != babysitter_url(target.url):
            return target.babysitter_url
        beside = (target.host, target.port + 1)
        taken = any((t.host, t.port) == beside for t in self._state.table.targets)  # by another instance
        return target.url if taken or not _listens(beside, self._timeout) else target.babysitter_url


def system_ca() -> str | None:
    """Where requests are verified with, too."""
    paths = ssl.get_default_verify_paths()
    return paths.cafile or paths.capath


def _listens(address: tuple[str, int], timeout: float) -> bool:
    with suppress(OSError, OverflowError), socket.create_connection(address, timeout):
        return True
    return False
