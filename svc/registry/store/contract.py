"""The contract of a store, which keeps the registry's services. `sqlite` implements it for one host, `redis` for many.

A store holds services by name, the operator's drain marks beside them, and one revision. Every method is atomic and
durable when it returns: what was acknowledged survives a `kill -9`. A store that cannot do its work raises Unavailable.

The revision never decreases. It rises by one with every change that a reader would notice (lease.is_visible_change); a
heartbeat that changes nothing else does not raise it.

A change to a service and its events (svc.protocol.event.events_between) are written in one step. The last
MAX_OWN_EVENTS events of the registry itself are kept. Their ids never decrease either. Events that others report are
kept beside them and displace none of them: at most MAX_REPORTED_EVENTS in all, and MAX_EVENTS_PER_REPORTER of each
reporter (svc.protocol.event.reporter_of).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

from svc.protocol.event import Event
from svc.protocol.service import Service
from svc.registry.leases.owner import OPERATOR, Caller

Change = Callable[[Service | None], Service | None]
Condition = Callable[[Service], bool]
MAX_OWN_EVENTS = 1000
MAX_REPORTED_EVENTS = MAX_OWN_EVENTS // 2
MAX_EVENTS_PER_REPORTER = MAX_OWN_EVENTS // 10


class Store(Protocol):
    event_counts: Counter[str]  # events that this process has written, by kind

    def snapshot(self) -> tuple[int, list[Service]]:
        """Return the revision and all services by name, both of one moment."""

    def get(self, name: str) -> Service | None: ...

    def change(self, name: str, change: Change) -> Service | None:
        """Replace the service with what `change` makes of it, and return it. `change` gets None for an unknown name.

        `change` is pure and may be called more than once. If it returns None or raises, nothing changes. The `drained`
        that it returns is ignored: only `drain` sets that.
        """

    def remove(self, name: str, when: Condition | None = None, why: str = "") -> bool:
        """Remove the service if it exists and `when` is true of it (and does not raise); return whether it did.

        `why` is the message of the event.
        """

    def heartbeat(self, name: str, now: float, status: str | None, caller: Caller = OPERATOR) -> bool:
        """Apply lease.renew, as fast as the store can; return False for an unknown name.

        A store may itself accept a caller whose digest is the owner's, and any caller if there is no owner. It leaves
        every other decision to lease.renew.
        """

    def drain(self, name: str, drained: bool) -> Service | None:
        """Set or clear the operator's mark, which outlives the registration; return None for an unknown name.

        The mark of an unknown name can be cleared, but not set.
        """

    def wait(self, known_revision: int, timeout: float) -> int:
        """Return the revision once it is not `known_revision`, or after `timeout` seconds. A wait does not poll."""

    def add_events(self, events: Sequence[Event]) -> list[Event]:
        """Add events that others have reported, or that concern no change; return them with their ids."""

    def events(self, after: int, wait: float = 0) -> tuple[list[Event], int]:
        """Return the events with ids over `after`, oldest first, and the last id that was ever given.

        With `wait`, return as soon as there is one, or after `wait` seconds. An `after` that was never given (the store
        has lost its data) counts as 0.
        """

    def check(self) -> None:
        """Raise Unavailable if nothing can be written now."""

    def degradation(self) -> str:
        """Return what is wrong with the store although it answers, else ""."""

    def past_incident(self) -> str:
        """Return what happened to the store that an operator should look into, else ""."""

    def now(self) -> float:
        """Return Unix seconds by the clock that all registries of one store share."""

    def wake(self) -> None:
        """End all waits at once, for a process that ends."""

    def close(self) -> None: ...
