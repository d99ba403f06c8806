"""What routers and operators want of an instance on demand, as leases that end by themselves. Pure.

A router sends its demand again every second while requests wait, so a babysitter that was restarted learns it again.
"""

import dataclasses
from collections.abc import Callable
from typing import Annotated

import msgspec

from svc.supervision.on_demand.instance_facts import Demand

LEASE_SECONDS = 3.0
MAX_SENDERS = 64  # limited because anyone may invent names; one more replaces the lease that ends first
MAX_SENDER_LENGTH = 128
MAX_WAITING = 10**6
MAX_SECONDS = 10.0**6


class WakeRequest(msgspec.Struct, frozen=True):
    """The body of POST /wake: the requests that wait, and how long the instance is to stay awake.

    `waiting` is the number of requests, `oldest` the seconds for which the oldest of them has waited, and `hold` the
    seconds to stay awake. `by` names the sender. A field that is left out keeps the value of the sender's last request.
    """

    waiting: Annotated[int, msgspec.Meta(ge=0, le=MAX_WAITING)] | None = None
    oldest: Annotated[float, msgspec.Meta(ge=0, le=MAX_SECONDS)] = 0.0
    hold: Annotated[float, msgspec.Meta(ge=0, le=MAX_SECONDS)] | None = None
    by: Annotated[str, msgspec.Meta(max_length=MAX_SENDER_LENGTH)] = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Lease:
    """The demand of one sender. Times are of the clock of `Demands`."""

    waiting: int = 0
    oldest_since: float = 0.0
    waiting_until: float = float("-inf")  # when the demand ends, unless the sender renews it
    held_until: float = float("-inf")

    def ends(self) -> float:
        return max(self.waiting_until, self.held_until)


class Demands:
    """The demands for one instance, by sender. `clock` is monotonic."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._leases: dict[str, Lease] = {}

    def renew(self, request: WakeRequest) -> None:
        """Replace the sender's earlier values by those that the request contains."""
        now = self._clock()
        lease = self._leases.pop(request.by, Lease())
        if request.waiting is not None:
            lease = dataclasses.replace(
                lease, waiting=request.waiting, oldest_since=now - request.oldest, waiting_until=now + LEASE_SECONDS
            )
        if request.hold is not None:
            lease = dataclasses.replace(lease, held_until=now + request.hold)
        self._forget_ended(now)
        if len(self._leases) >= MAX_SENDERS:
            del self._leases[min(self._leases, key=lambda sender: self._leases[sender].ends())]
        self._leases[request.by] = lease

    def current(self) -> Demand | None:
        """Return the demands of all senders as one; None without a demand."""
        now = self._clock()
        self._forget_ended(now)
        leases = self._leases.values()
        waiting = [lease for lease in leases if lease.waiting and lease.waiting_until > now]
        hold = max((lease.held_until - now for lease in leases), default=0.0)
        if not waiting and hold <= 0:
            return None
        oldest = max((now - lease.oldest_since for lease in waiting), default=0.0)
        return Demand(sum(lease.waiting for lease in waiting), oldest, max(0.0, hold))

    def end_waiting(self) -> None:
        """Forget the waiting requests, because the instance serves now. Routers report again those that still wait."""
        self._leases = {
            sender: dataclasses.replace(lease, waiting=0, waiting_until=float("-inf"))
            for sender, lease in self._leases.items()
        }

    def clear(self) -> None:
        """Forget all demands, because the instance is to sleep. Routers with waiting requests ask again."""
        self._leases.clear()

    def _forget_ended(self, now: float) -> None:
        self._leases = {sender: lease for sender, lease in self._leases.items() if lease.ends() > now}
