"""Which leases end, and when so many would that the fault is likelier ours: no clock and no I/O in here.

When the registry's own network fails, every lease ends although every service
is well. A heartbeat interval is a third of a lease, so when the first of those
that are cut off lapses, the others have been silent for two thirds of theirs:
they are counted with it, and none is lost before the many are noticed.
"""

import dataclasses
from collections.abc import Iterable

from svc.protocol.service import Service
from svc.registry.leases import lease

WINDOW = 60.0  # seconds
SHARE, LEAST = 0.15, 3  # more than this share, and at least so many: too many for one window
GAP = 5.0  # seconds between two looks from which on the time between was not ours, or no time at all


def too_many(services: Iterable[Service], now: float, since: float) -> bool:
    """Whether more would expire within one window than may: those that did, and those that are about to.

    1. Expired lately: they lapsed within the last window.
    2. About to: silent for over half their lease, which ends within the next window (or has ended, and was kept).
    """
    gone = silent = live = 0
    for service in services:
        if service.expired:
            gone += service.last_heartbeat + service.lease_seconds > now - WINDOW  # 1
            continue
        live += 1
        end = lease.ends(service, since)
        silent += end - service.lease_seconds / 2 <= now and end <= now + WINDOW  # 2
    lost = gone + silent
    return lost >= LEAST and lost > SHARE * (live + gone)


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    ending: list[Service]
    kept: list[Service]  # these have lapsed too
    live: int


class Expiry:
    """Remembers moments only: since when this registry listens, how long the many are kept, or may go."""

    since: float
    _looked: float
    _kept_until: float
    _free_until: float

    def __init__(self, now: float) -> None:
        self._begin(now)

    def judge(self, services: list[Service], now: float) -> Verdict:
        """Called about once a second.

        1. After a gap all leases begin anew: the clock jumped, or this process did not run, or had no store.
        2. What lapsed ends, unless too many would; then it is kept until that was no longer so for a whole window.
        3. An operator's word lets them go.
        """
        if not -GAP <= now - self._looked <= GAP:
            self._begin(now)  # 1
        self._looked = now
        live = [s for s in services if not s.expired]
        lapsed = [s for s in live if lease.lapsed(s, now, self.since)]
        if too_many(services, now, self.since):
            self._kept_until = now + WINDOW  # 2
        if self._free_until <= now < self._kept_until:
            return Verdict([], lapsed, len(live))
        return Verdict(lapsed, [], len(live))  # 3

    def release(self, now: float) -> None:
        """An operator says that the silent are gone: for one window, what lapses ends."""
        self._kept_until, self._free_until = now, now + WINDOW

    def _begin(self, now: float) -> None:
        self.since = self._looked = self._kept_until = self._free_until = now
