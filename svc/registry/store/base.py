"""What the registry asks of whatever keeps its registrations.

A store holds services by name, the operator's drain marks beside them, and one
revision. Every method is atomic and durable when it returns: what was
acknowledged survives a `kill -9`. A store that cannot do its work raises
Unavailable.

The revision never goes back. Whatever a reader would notice raises it by one
(lease.notable says what that is), a heartbeat that changes nothing does not.

Of what happens to services (svc.protocol.event.between), the last MAX_OWN_EVENTS events
are kept, in the same step as the change. Their ids never go back either. What
others report is kept beside them and pushes none of them out: at most
MAX_REPORTED_EVENTS in all, and MAX_EVENTS_PER_REPORTER of one (svc.protocol.event.reporter_of).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

from svc.protocol.event import Event
from svc.protocol.service import Service
from svc.registry.leases.owner import OPERATOR, Caller

Change = Callable[[Service | None], Service | None]
Test = Callable[[Service], bool]
MAX_OWN_EVENTS = 1000
MAX_REPORTED_EVENTS = MAX_OWN_EVENTS // 2
MAX_EVENTS_PER_REPORTER = MAX_OWN_EVENTS // 10


class Store(Protocol):
    happened: Counter[str]  # events that this process has written, by kind

    def snapshot(self) -> tuple[int, list[Service]]:
        """The revision and all services by name, both of one moment."""

    def get(self, name: str) -> Service | None: ...

    def change(self, name: str, change: Change) -> Service | None:
        """Puts what `change` makes of the service (None: there is none) in its place; returns it.

        `change` is pure and may run more than once; None says to leave things
        as they are, as does what it raises. What it says about `drained` is not
        kept: only `drain` sets that.
        """

    def remove(self, name: str, when: Test | None = None, why: str = "") -> bool:
        """Takes it away, if it is there and `when` holds of it (and does not raise); whether it did.

        `why` is for the event that tells it.
        """

    def heartbeat(self, name: str, now: float, status: str | None, caller: Caller = OPERATOR) -> bool:
        """lease.beaten, as fast as the store can; False for a name it does not know.

        A store may take the same digest, or none, for the owner's by itself;
        whatever else it leaves to lease.beaten.
        """

    def drain(self, name: str, drained: bool) -> Service | None:
        """Sets or clears the operator's mark, which outlives the registration; None for an unknown name.

        It is cleared for a name that is not registered any more, too, but not set.
        """

    def wait(self, index: int, timeout: float) -> int:
        """The revision, as soon as it is not `index` any more or `timeout` seconds are over. Waiting costs nothing."""

    def tell(self, events: Sequence[Event]) -> list[Event]:
        """Keeps these too; returns them with their ids."""

    def events(self, after: int, wait: float = 0) -> tuple[list[Event], int]:
        """Those with ids over `after` that are kept, oldest first, and the last id ever given.

        With `wait`, as soon as there is one, or `wait` seconds are over. An `after` that was not given yet (the store
        has lost its data) counts as 0.
        """

    def check(self) -> None:
        """Raises Unavailable when nothing can be written now."""

    def notice(self) -> str:
        """What an operator should know of it, although it works; else nothing."""

    def history(self) -> str:
        """What happened to it that an operator should look into; else nothing."""

    def now(self) -> float:
        """Unix seconds, by the clock that all registries of one store share."""

    def wake(self) -> None:
        """Lets go at once of all who wait; for a process that ends."""

    def close(self) -> None: ...
