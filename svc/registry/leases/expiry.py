"""Decide which leases end, and keep them when so many lapse at once that the network is the likelier cause. Pure.

When the registry's own network fails, every lease lapses although every service is healthy. A heartbeat interval is a
third of a lease: when the first of the services that are cut off lapses, the others have been silent for two thirds of
their leases. These are counted with it, so that a mass expiry is noticed before the first lease ends.
"""

import dataclasses
from collections.abc import Iterable

from svc.protocol.service import Service
from svc.registry.leases import lease

WINDOW_SECONDS = 60.0
MASS_EXPIRY_SHARE = 0.15  # it is a mass expiry when more than this share of the services lapses in one window ...
MASS_EXPIRY_MIN_SERVICES = 3  # ... and at least so many do
MAX_ROUND_GAP_SECONDS = 5.0  # a longer time between two rounds: the clock jumped, or this process did not run


def is_mass_expiry(services: Iterable[Service], now: float, listening_since: float) -> bool:
    """Return whether too many services are lost within one window.

    A service is lost in two cases.
    1. It has expired, and lapsed within the last window.
    2. It has been silent for over half its lease, which ends within the next window (or has ended, and was kept).
    """
    ended = silent = live = 0
    for service in services:
        if service.expired:
            ended += service.last_heartbeat + service.lease_seconds > now - WINDOW_SECONDS  # 1
            continue
        live += 1
        end = lease.expires_at(service, listening_since)
        silent += end - service.lease_seconds / 2 <= now and end <= now + WINDOW_SECONDS  # 2
    lost = ended + silent
    return lost >= MASS_EXPIRY_MIN_SERVICES and lost > MASS_EXPIRY_SHARE * (live + ended)


@dataclasses.dataclass(frozen=True, slots=True)
class ExpiryDecision:
    """The services whose leases end now, those whose leases lapsed and are kept, and the number of live services."""

    ending: list[Service]
    kept: list[Service]
    live: int


class LeaseExpiry:
    """Decides which leases end. `listening_since` is when this registry began to listen for heartbeats.

    Of earlier rounds it remembers three times: the last round, until when leases are kept, and until when an operator
    lets them end.
    """

    listening_since: float
    _last_round: float
    _kept_until: float
    _endings_allowed_until: float

    def __init__(self, now: float) -> None:
        self._restart(now)

    def decide(self, services: list[Service], now: float) -> ExpiryDecision:
        """Return which leases end; called about once a second.

        1. After a gap all leases start anew: the clock jumped, or this process did not run, or it had no store.
        2. A mass expiry keeps the lapsed leases, until there was none for a whole window.
        3. Else, or while an operator lets them end, the lapsed leases end.
        """
        if not -MAX_ROUND_GAP_SECONDS <= now - self._last_round <= MAX_ROUND_GAP_SECONDS:
            self._restart(now)  # 1
        self._last_round = now
        live = [s for s in services if not s.expired]
        lapsed = [s for s in live if lease.has_lapsed(s, now, self.listening_since)]
        if is_mass_expiry(services, now, self.listening_since):
            self._kept_until = now + WINDOW_SECONDS  # 2
        if self._endings_allowed_until <= now < self._kept_until:
            return ExpiryDecision([], lapsed, len(live))
        return ExpiryDecision(lapsed, [], len(live))  # 3

    def allow_endings(self, now: float) -> None:
        """Let lapsed leases end for one window, because an operator says that these services are gone."""
        self._kept_until, self._endings_allowed_until = now, now + WINDOW_SECONDS

    def _restart(self, now: float) -> None:
        self.listening_since = self._last_round = self._kept_until = self._endings_allowed_until = now
