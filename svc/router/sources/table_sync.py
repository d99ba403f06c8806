"""Where the table comes from: the registry and the static services."""

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import msgspec

from svc.base.errors import SvcError, Unauthorized
from svc.client.registry import RegistryClient, ServiceList
from svc.client.registry_watch import MAX_WAIT_SECONDS, RegistryWatch
from svc.protocol.service import Service
from svc.router.balance.table import Origin, Target, from_service
from svc.router.sources.table_cache import CachedTable
from svc.router.state import RouterState

log = logging.getLogger(__name__)


class TableSync:
    """Follows the registry's list and swaps the table. While no registry answers, the last good table is kept.

    Call `once` again and again: it returns when there is something new, and how many seconds to wait then.
    """

    def __init__(
        self,
        state: RouterState,
        client: RegistryClient | None,
        static: list[Target],
        clock: Callable[[], float],
        saved: CachedTable | None = None,
    ) -> None:
        self._state = state
        self._static = static
        self._clock = clock
        self._saved = saved
        self._interval = state.settings.registry_sync_interval
        self._watch = RegistryWatch(client, self._interval, clock) if client else None
        self._missing: dict[str, float] = {}  # names that vanished without a deletion, and since when
        self._shadowed: set[str] = set()  # registered names that static services have, as they were logged
        self._unusable: set[str] = set()  # what was said of entries, once

    def once(self) -> float:
        """Read the registry's list once, and return the seconds until the next time; log a failure once."""
        if self._watch is None:
            self._take([], Origin("static"))
            return self._interval
        try:
            listing = self._watch.next_list(self._patience())
        except SvcError as error:
            self._without(error)
        else:
            self._with(listing)
        return self._watch.pause

    def _with(self, listing: ServiceList) -> None:
        if self._state.away:
            log.info("the registry is back")
        self._state.away = False
        self._saved = None
        found, unusable = _targets(listing.entries)
        for problem in unusable - self._unusable:
            log.warning("the registry lists %s", problem)
        self._unusable = unusable
        self._take(found, Origin("registry", self._clock(), listing.url, listing.index))

    def _without(self, error: SvcError) -> None:
        """1. The table stays. 2. Where there is none yet, the saved one or the static services make one."""
        if not self._state.away:
            wants_token = isinstance(error, Unauthorized)
            cure = "; name the file with it: registry_token_file under [router]" if wants_token else ""
            log.warning("%s%s; keeping the %d instances last known", error, cure, len(self._state.table.targets))
        self._state.away = True
        if self._state.ready:
            return  # 1
        if self._saved is not None:
            log.warning(
                "starting with the %d instances that %s told %.0f s ago",
                len(self._saved.targets),
                self._saved.registry,
                self._saved.age,
            )
            seen = self._clock() - self._saved.age
            self._take(self._saved.targets, Origin("saved", seen, self._saved.registry, self._saved.index))
        elif self._static:
            self._take([], Origin("static"))

    def _take(self, found: list[Target], origin: Origin) -> None:
        found = self._without_static_names(found)
        names = {t.name for t in found}
        kept = self._grace(names, _forgot(self._state.origin, origin))
        before = self._state.table
        self._state.replace([*found, *kept, *self._static])
        self._state.origin = origin
        self._state.ready = True
        if before.candidates != self._state.table.candidates:
            log.info("instances in use: %s", ", ".join(sorted(self._state.table.candidates)) or "none")

    def _without_static_names(self, found: list[Target]) -> list[Target]:
        """Return the targets without those that have the name of a static service.

        They would get the traffic and the key of the instance that the operator named in the router's own file.
        """
        static = {t.name for t in self._static}
        shadowed = {t.name for t in found if t.name in static}
        for name in sorted(shadowed - self._shadowed):
            log.warning("the registry lists %s: ignored, as a static service has this name; rename one of them", name)
        self._shadowed = shadowed
        return [t for t in found if t.name not in static]

    def _grace(self, found: set[str], forgot: bool) -> list[Target]:
        """Those kept although the registry does not list them: they may register again."""
        now = self._clock()
        gone = [t for t in self._state.table.targets if not t.static and t.name not in found]
        if forgot:
            self._missing.update({t.name: now for t in gone if t.name not in self._missing})
        grace = self._state.settings.service_removal_grace_period
        self._missing = {n: since for n, since in self._missing.items() if n not in found and now - since < grace}
        return [t for t in gone if t.name in self._missing]

    def _patience(self) -> float:
        """How long the next look may take: until the first grace ends."""
        if not self._missing:
            return MAX_WAIT_SECONDS
        return min(self._missing.values()) + self._state.settings.service_removal_grace_period - self._clock()


def _forgot(before: Origin | None, now: Origin) -> bool:
    """Whether what is missing now may just be unknown: the registry has lost its data, or is another one."""
    if before is None or not before.registry:
        return False
    return now.registry != before.registry or (now.index or 0) < (before.index or 0)


class ListedService(Service, frozen=True, kw_only=True):
    """A service as the registry lists it."""

    healthy: bool = msgspec.field(default=True, name="is_healthy")


_told = msgspec.json.Decoder(ListedService).decode


def _targets(entries: Iterable[msgspec.Raw]) -> tuple[list[Target], set[str]]:
    """The instances among them, and what is wrong with those that cannot be used."""
    found: list[Target] = []
    unusable: set[str] = set()
    for entry in entries:
        try:
            service = _told(entry)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            unusable.add(f"{_name(entry)!r}, which cannot be used: {error}")
            continue
        target = from_service(service, heard=_heard(service))
        if target is not None:
            found.append(target)
        elif service.is_instance():
            unusable.add(f"{service.name!r}, which cannot be used: its url is {service.url!r}")
    return found, unusable


def _name(entry: msgspec.Raw) -> Any:
    """What an entry calls itself, or the entry as it is."""
    with suppress(msgspec.DecodeError, UnicodeDecodeError):
        told = msgspec.json.decode(entry)
        return told.get("name") if isinstance(told, dict) else told
    return bytes(entry)


def _heard(service: ListedService) -> bool:
    """Whether its lease holds: if not, there is no other reason why it should not be healthy."""
    if service.healthy or service.status != "running":
        return True
    return service.drained or service.health_status == "unhealthy"
