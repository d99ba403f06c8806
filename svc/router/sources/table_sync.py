"""Keeps the table up to date with the registry's list and the static services."""

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, Any

import msgspec

from svc.base.errors import SvcError, Unauthorized
from svc.client.registry_watch import RegistryWatch
from svc.protocol.service import Service, is_static
from svc.router.balance.routing_table import Origin
from svc.router.balance.target import Target, from_service
from svc.router.sources.table_cache import CachedTable
from svc.router.state import RouterState

if TYPE_CHECKING:  # not at run time: a router without a registry does not load the registry's client
    from svc.client.registry import RegistryClient, ServiceList

log = logging.getLogger(__name__)
STATIC_GRACE_PERIOD_SECONDS = 3600.0  # an engine without a babysitter may be down for long until somebody starts it


class TableSync:
    """The job that follows the registry's list and replaces the table.

    While no registry answers, the last good table is kept. Call `run_round` again and again. Each call blocks until the
    registry has a new list or its wait ends, and returns the seconds to pause before the next call.
    """

    def __init__(
        self,
        state: RouterState,
        client: "RegistryClient | None",
        static: list[Target],
        clock: Callable[[], float],
        cached: CachedTable | None = None,
    ) -> None:
        self._state = state
        self._static = static
        self._clock = clock
        self._cached = cached
        self._interval = state.settings.registry_sync_interval
        self._grace_period = state.settings.service_removal_grace_period
        self._watch = RegistryWatch(client, self._interval, clock) if client else None
        # Name that vanished from the list without a deletion -> monotonic seconds until which its target is kept.
        self._kept_until: dict[str, float] = {}
        self._shadowed: set[str] = set()  # registered names that are also names of static services, and were logged
        self._unusable: set[str] = set()  # logged messages about unusable entries in the registry's list

    def run_round(self) -> float:
        """Read the registry's list once; return the seconds to pause before the next call. A failure is logged once."""
        if self._watch is None:
            self._replace_table([], Origin("static"))
            return self._interval
        try:
            services = self._watch.next_list(self._max_wait_seconds())
        except SvcError as error:
            self._handle_failure(error)
        else:
            self._handle_list(services)
        return self._watch.pause

    def _handle_list(self, services: "ServiceList") -> None:
        if self._state.registry_away:
            log.info("the registry is back")
        self._state.registry_away = False
        if self._cached is not None and not self._state.ready and self._cached.age < self._grace_period:
            self._use_saved_table(
                self._cached
            )  # the saved table shows whether the registry lost its data just before this start
        self._cached = None
        targets, unusable = _targets(services.entries)
        for problem in unusable - self._unusable:
            log.warning("the registry lists %s", problem)
        self._unusable = unusable
        self._replace_table(targets, Origin("registry", self._clock(), services.url, services.index))

    def _handle_failure(self, error: SvcError) -> None:
        """Keep the table. If there is none yet, create it from the saved table or from the static services."""
        if not self._state.registry_away:
            wants_token = isinstance(error, Unauthorized)
            cure = "; name the file with it: registry_token_file under [router]" if wants_token else ""
            log.warning(
                "%s%s; keeping the %d instances last known", error, cure, len(self._state.balancer.table.targets)
            )
        self._state.registry_away = True
        if self._state.ready:
            return
        if self._cached is not None:
            log.warning(
                "starting with the %d instances that %s listed %.0f s ago",
                len(self._cached.targets),
                self._cached.registry,
                self._cached.age,
            )
            self._use_saved_table(self._cached)
        elif self._static:
            self._replace_table([], Origin("static"))

    def _use_saved_table(self, cached: CachedTable) -> None:
        confirmed_at = self._clock() - cached.age
        self._replace_table(cached.targets, Origin("saved", confirmed_at, cached.registry, cached.index))

    def _replace_table(self, registered: list[Target], origin: Origin) -> None:
        registered = self._without_static_names(registered)
        names = {target.name for target in registered}
        kept = self._in_grace_period(names, _may_have_lost_data(self._state.origin, origin))
        self._state.keeps_unlisted = bool(kept)
        before = self._state.balancer.table.candidates
        self._state.replace_targets([*registered, *kept, *self._static])
        self._state.origin = origin
        self._state.ready = True
        candidates = self._state.balancer.table.candidates
        if before != candidates:
            log.info("instances in use: %s", ", ".join(sorted(candidates)) or "none")

    def _without_static_names(self, registered: list[Target]) -> list[Target]:
        """Return the registered targets, except those with the name of a static service.

        A registered target with such a name would get the traffic and the API key of the static service.
        """
        static = {target.name for target in self._static}
        shadowed = {target.name for target in registered if target.name in static}
        for name in sorted(shadowed - self._shadowed):
            log.warning("the registry lists %s: ignored, as a static service has this name; rename one of them", name)
        self._shadowed = shadowed
        return [target for target in registered if target.name not in static]

    def _in_grace_period(self, listed: set[str], data_lost: bool) -> list[Target]:
        """Return the targets that are kept although the registry does not list them: they may register again.

        Targets with `static = true` in their metadata are kept until the registry lists them again, or their health
        checks have failed for STATIC_GRACE_PERIOD_SECONDS; all others for the grace period. `listed`: the names in the
        registry's list; `data_lost`: the registry may have lost its data.
        """
        now = self._clock()
        targets = self._state.balancer.table.targets
        unlisted = [target for target in targets if not target.static and target.name not in listed]
        if data_lost:
            end = now + self._grace_period
            until = {target.name: inf if is_static(target.metadata) else end for target in unlisted}
            self._kept_until = {**until, **self._kept_until}
        for target in unlisted:
            if target.name in self._kept_until and is_static(target.metadata):
                self._kept_until[target.name] = self._static_kept_until(target.name, now)
        self._kept_until = {
            name: until for name, until in self._kept_until.items() if name not in listed and now < until
        }
        return [target for target in unlisted if target.name in self._kept_until]

    def _static_kept_until(self, name: str, now: float) -> float:
        """Return the time until which an unlisted static instance is kept; infinite while its health checks pass."""
        health = self._state.health.by_instance.get(name)
        if health is None or health.healthy is not False:
            return inf
        return min(self._kept_until[name], now + STATIC_GRACE_PERIOD_SECONDS)

    def _max_wait_seconds(self) -> float:
        """Return how many seconds the registry may wait for a change: not beyond the end of the first grace period."""
        return min(self._kept_until.values(), default=inf) - self._clock()


def _may_have_lost_data(before: Origin | None, now: Origin) -> bool:
    """Return whether the list may lack instances that run.

    That is the case if the registry has lost its data, or is another registry, or sends no revision. Without a
    revision, a deletion looks like a loss of data.
    """
    if before is None or not before.registry:
        return False
    return now.registry != before.registry or now.index is None or now.index < (before.index or 0)


class ListedService(Service, frozen=True, kw_only=True):
    """An entry of the registry's list of services."""

    healthy: bool = msgspec.field(default=True, name="is_healthy")


_decode_service = msgspec.json.Decoder(ListedService).decode


def _targets(entries: Iterable[msgspec.Raw]) -> tuple[list[Target], set[str]]:
    """Return the instances among the entries, and a message for each entry that cannot be used."""
    targets: list[Target] = []
    unusable: set[str] = set()
    for entry in entries:
        try:
            service = _decode_service(entry)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            unusable.add(f"{_name_or_entry(entry)!r}, which cannot be used: {error}")
            continue
        target = from_service(service, lease_valid=_has_valid_lease(service))
        if target is not None:
            targets.append(target)
        elif service.is_instance():
            unusable.add(f"{service.name!r}, which cannot be used: its url is {service.url!r}")
    return targets, unusable


def _name_or_entry(entry: msgspec.Raw) -> Any:
    """Return the name in an entry, for a log message; return the whole entry if no name can be read."""
    with suppress(msgspec.DecodeError, UnicodeDecodeError):
        fields = msgspec.json.decode(entry)
        return fields.get("name") if isinstance(fields, dict) else fields
    return bytes(entry)


def _has_valid_lease(service: ListedService) -> bool:
    """Return whether the lease is valid, which the list does not contain directly.

    A running service that is not healthy is drained, fails its checks, or has an expired lease.
    """
    if service.healthy or service.status != "running":
        return True
    return service.drained or service.health_status == "unhealthy"
