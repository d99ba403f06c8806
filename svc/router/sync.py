"""Where the table comes from: the registry and the static services."""

import logging
from collections.abc import Callable
from typing import Any

import msgspec

from svc.client import RegistryClient
from svc.errors import SvcError
from svc.instance import Service
from svc.router.state import State
from svc.router.table import Target, from_service

log = logging.getLogger(__name__)


AWAY_INTERVAL = 1.0  # seconds between two tries to reach a registry that is away


class Sync:
    """Lists the registry and swaps the table. While no registry answers, the last good table is kept.

    `once` is called every AWAY_INTERVAL or oftener, and looks when it is time.
    """

    def __init__(
        self, state: State, client: RegistryClient | None, static: list[Target], clock: Callable[[], float]
    ) -> None:
        self._state = state
        self._client = client
        self._static = static
        self._clock = clock
        self._due = clock()
        self._index = -1
        self._missing: dict[str, float] = {}  # names that vanished without a deletion, and since when
        self._away = False
        self._unusable: set[str] = set()  # what was said of entries, once

    def once(self) -> None:
        """One look at the registry; what is wrong is logged once, not each time."""
        if self._clock() < self._due:
            return
        self._due = self._clock() + self._state.settings.registry_sync_interval
        if self._client is None:
            self._take([])
            return
        try:
            services, index = self._client.listing()
        except SvcError as error:
            if not self._away:
                log.warning("%s; keeping the %d instances last known", error, len(self._state.table.targets))
            self._away = True
            self._due = 0.0
            if self._static and not self._state.ready:
                self._take([])
            return
        if self._away:
            log.info("the registry is back")
        self._away = False
        lost = index < self._index  # it has forgotten: what is missing was not deleted
        self._index = index
        found, unusable = _targets(services)
        for problem in unusable - self._unusable:
            log.warning("the registry lists %s", problem)
        self._unusable = unusable
        self._take(found, lost)

    def _take(self, found: list[Target], lost: bool = False) -> None:
        names = {t.name for t in found}
        kept = self._grace(names, lost)
        taken = [t for t in self._static if t.name not in names]
        before = self._state.table
        self._state.replace([*found, *kept, *taken])
        self._state.ready = True
        if before.candidates != self._state.table.candidates:
            log.info("instances in use: %s", ", ".join(sorted(self._state.table.candidates)) or "none")

    def _grace(self, found: set[str], lost: bool) -> list[Target]:
        """Those kept although the registry no longer lists them: it lost its data, and they may register again."""
        now = self._clock()
        gone = [t for t in self._state.table.targets if not t.static and t.name not in found]
        if lost:
            self._missing.update({t.name: now for t in gone if t.name not in self._missing})
        grace = self._state.settings.service_removal_grace_period
        self._missing = {n: since for n, since in self._missing.items() if n not in found and now - since < grace}
        return [t for t in gone if t.name in self._missing]


def _targets(services: list[Any]) -> tuple[list[Target], set[str]]:
    """The instances among them, and what is wrong with those that cannot be used."""
    found: list[Target] = []
    unusable: set[str] = set()
    for told in services:
        try:
            service = msgspec.convert(told, Service)
        except msgspec.ValidationError as error:
            name = told.get("name") if isinstance(told, dict) else told
            unusable.add(f"{name!r}, which cannot be used: {error}")
            continue
        target = from_service(service, heard=told.get("is_healthy", True) or service.health_status == "unhealthy")
        if target is not None:
            found.append(target)
        elif service.is_instance():
            unusable.add(f"{service.name!r}, which cannot be used: its url is {service.url!r}")
    return found, unusable
