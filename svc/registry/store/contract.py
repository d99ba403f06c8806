"""The interface of a store, which keeps the registry's services. `sqlite` implements it for one host, `redis` for many.

A store contains the services with their names, the set of names that an operator has drained, the set of drained names
whose streams are handed over, and one revision. Every method is atomic. When a method returns, its changes are durable:
they survive a `kill -9`. Every method raises Unavailable if the store fails.

The revision never decreases. It rises by one with every change that a reader would notice (lease.is_visible_change); a
heartbeat that only renews a lease does not raise it.

A change to a service and its events (svc.protocol.event.events_between) are written in one step. Event ids never
decrease. The store keeps the last MAX_OWN_EVENTS events of the registry itself. It keeps events from other reporters
separately, so that they displace none of the registry's own: at most MAX_REPORTED_EVENTS in all, and at most
MAX_EVENTS_PER_REPORTER from each reporter (svc.protocol.event.reporter_of). It keeps the events of the audit, which are
those with an actor, apart from all of these: at most MAX_AUDIT_EVENTS, and at most MAX_AUDIT_EVENTS_PER_ACTOR of each
actor. All unverified actors count as one. Whenever an event of the audit is added, those older than
AUDIT_RETENTION_SECONDS are removed.
"""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple, Protocol

from svc.protocol.event import Actor, Event
from svc.protocol.gpu_report import GpuReport, ListedHost
from svc.protocol.instance_load import InstanceLoad, ListedLoad
from svc.protocol.service import Service
from svc.registry.leases.lease import LeaseRenewal
from svc.registry.leases.owner import Caller

Change = Callable[[Service | None], Service | None]
Condition = Callable[[Service], bool]
MAX_OWN_EVENTS = 1000
MAX_REPORTED_EVENTS = MAX_OWN_EVENTS // 2
MAX_EVENTS_PER_REPORTER = MAX_OWN_EVENTS // 10
MAX_AUDIT_EVENTS = 5000
MAX_AUDIT_EVENTS_PER_ACTOR = 4000
MAX_RECENT_AUDIT_EVENTS = MAX_OWN_EVENTS  # a reader of all events gets only this many of the audit
AUDIT_RETENTION_SECONDS = 400 * 86400


class LoadReport(NamedTuple):
    """The load that a service reports."""

    name: str
    load: InstanceLoad
    caller: Caller


class Store(Protocol):
    event_counts: Counter[str]  # kind of event -> number of events that this process has written

    def snapshot(self) -> tuple[int, list[Service]]:
        """Return the revision and all services, sorted by name, in one consistent state."""

    def get(self, name: str) -> Service | None: ...

    def change(self, name: str, change: Change, actor: Actor | None = None) -> Service | None:
        """Replace the service with the result of `change`, and return the new service.

        If an operator has requested the change, `actor` makes its events part of the audit.

        `change` gets the current service, or None for an unknown name. It is pure and may be called more than once. If
        it returns None or raises, nothing changes. The fields `drained` and `handover` of its result are ignored: only
        `drain` sets them.
        """

    def remove(self, name: str, when: Condition | None = None, why: str = "", actor: Actor | None = None) -> bool:
        """Remove the service if it exists and `when(service)` is true; return whether it was removed.

        If `when` raises, nothing is removed. `why` is the message of the event, and `actor` the operator.
        """

    def renew_leases(self, renewals: Sequence[LeaseRenewal], now: float) -> list[bool]:
        """Set the last heartbeat of many services to `now`, in one step; return for each whether its lease was renewed.

        A lease is renewed if lease.only_renews is true. Otherwise, and for an unknown name, nothing changes.
        """

    def put_loads(self, reports: Sequence[LoadReport], now: float) -> list[bool]:
        """Keep the loads of many services, in one step; return for each whether it is kept.

        A load is kept if a heartbeat of its caller would only renew the lease. Loads do not raise the revision, cause
        no event and are not durable: they are lost when the process, or Redis, ends. A service that is removed, expires
        or gets another owner loses its load, so that the next owner of the name does not have it.
        """

    def loads(self, now: float) -> list[ListedLoad]:
        """Return the loads that are current (InstanceLoad.is_current), sorted by name."""

    def put_gpus(self, name: str, report: GpuReport, caller: Caller, now: float) -> bool:
        """Keep the report of the service `name` about the GPUs of its host; return whether it is kept.

        The rules are those of `put_loads`. While MAX_HOSTS reports are current, no other service's report is kept.
        """

    def gpus(self, now: float) -> list[ListedHost]:
        """Return the reports about GPUs that are current (GpuReport.is_current), sorted by name."""

    def drain(self, name: str, drained: bool, actor: Actor | None = None, handover: bool = False) -> Service | None:
        """Drain the service or end its drain, and return the service; return None for an unknown name.

        `handover`: routers also move its streams to other instances. Each call decides on this anew; the end of a drain
        also ends the handover. A drain outlives the registration: for a name that is not registered, a drain can be
        ended, but not begun.
        """

    def wait(self, known_revision: int, timeout: float) -> int:
        """Return the revision once it differs from `known_revision`, or after `timeout` seconds, without polling."""

    def add_events(self, events: Sequence[Event]) -> list[Event]:
        """Add events that do not come from a change of a service in this store, and return them with their ids."""

    def events(self, after: int, wait: float = 0, audit: bool = False) -> tuple[list[Event], int]:
        """Return the events with ids above `after`, oldest first, and the highest id assigned so far.

        Without `audit`, only the newest MAX_RECENT_AUDIT_EVENTS of the audit are among them. With `audit`, return all
        events of the audit and no others.

        Wait up to `wait` seconds until there is an event to return. If `after` is above the highest id, the store has
        lost its data, and `after` counts as 0.
        """

    def share_reached(self, names: Collection[str], seconds: float) -> None:
        """Share the names of the services that this registry's checks reach; they are valid for `seconds`."""

    def reached_by_others(self) -> frozenset[str]:
        """Return the valid names that other registries with this store have shared with `share_reached`."""

    def check(self) -> None:
        """Raise Unavailable if the store cannot be written now."""

    def degradation(self) -> str:
        """Return the problem of a store that still answers, or "" if there is none."""

    def past_incident(self) -> str:
        """Return a message about an earlier failure that an operator should examine, or "" if there was none."""

    def now(self) -> float:
        """Return the time in Unix seconds from the clock that all registries with this store share."""

    def wake(self) -> None:
        """End all waits at once, because the process is shutting down."""

    def close(self) -> None: ...
