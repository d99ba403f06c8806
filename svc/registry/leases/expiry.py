"""Decide which leases end; keep them all if so many lapse at once that a network failure is the likely cause. Pure.

When the registry's own network fails, every lease lapses although every service is healthy. Services send a heartbeat
every third of a lease. So when the first lease lapses, every other service has been silent for at least two thirds of
its own lease. These silent services are counted, too, so that the mass expiry is noticed before the first lease ends.
"""

import dataclasses
from collections.abc import Collection

from svc.protocol.service import Service
from svc.registry.leases import lease

WINDOW_SECONDS = 60.0
MASS_EXPIRY_SHARE = 0.15  # in a mass expiry, more than this share of all services lapse in one window
MASS_EXPIRY_MIN_SERVICES = 3  # in a mass expiry, at least this number of services lapse in one window
MAX_ROUND_GAP_SECONDS = 5.0  # a longer gap between rounds means that the clock jumped, or this process did not run


def is_mass_expiry(services: Collection[Service], now: float, listening_since: float) -> bool:
    """Return whether too many services are lost within WINDOW_SECONDS. Services with `static = true` do not count.

    A service counts as lost in two cases.
    1. It is expired, and its lease ended within the last window.
    2. It has sent no heartbeat for over half its lease, and the lease ends within the next window or has ended already.
    """
    ended = silent = 0
    for service in possibly_silent(services, now):
        if service.is_static():
            continue
        if service.expired:
            ended += service.last_heartbeat + service.lease_seconds > now - WINDOW_SECONDS  # rule 1
            continue
        end = lease.expires_at(service, listening_since)
        silent += end - service.lease_seconds / 2 <= now and end <= now + WINDOW_SECONDS  # rule 2
    lost = ended + silent
    if lost < MASS_EXPIRY_MIN_SERVICES:
        return False
    live = sum(not (service.expired or service.is_static()) for service in services)
    return lost > MASS_EXPIRY_SHARE * (live + ended)


def possibly_silent(services: Collection[Service], now: float) -> list[Service]:
    """Return the services that are expired or have sent no heartbeat for over half their lease.

    They are usually few, so that it costs little to apply the other rules to them once a second.
    """
    return [s for s in services if s.expired or s.last_heartbeat + s.lease_seconds / 2 <= now]


@dataclasses.dataclass(frozen=True, slots=True)
class ExpiryDecision:
    """The services whose leases end now, the services whose lapsed leases are kept, and the number of live services."""

    ending: list[Service]
    kept: list[Service]
    live: int


class LeaseExpiry:
    """Decides which leases end. `listening_since` is when this registry began to listen for heartbeats.

    The rest of the state is three times:

    1. `_last_round`: when the last round ran.
    2. `_kept_until`: until when lapsed leases are kept, because there was a mass expiry.
    3. `_endings_allowed_until`: until when lapsed leases end even after a mass expiry, because an operator allowed it.
    """

    listening_since: float
    _last_round: float
    _kept_until: float
    _endings_allowed_until: float

    def __init__(self, now: float) -> None:
        self._restart(now)

    def decide(self, services: list[Service], now: float) -> ExpiryDecision:
        """Return which lapsed leases end and which are kept; called about once a second.

        1. After a gap between two rounds, all leases start anew: the clock jumped, this process did not run, or the
        store failed.
        2. After a mass expiry, lapsed leases are kept until a whole window has passed without another mass expiry.
        3. Otherwise lapsed leases end. They also end for one window after an operator has allowed it.
        """
        if not -MAX_ROUND_GAP_SECONDS <= now - self._last_round <= MAX_ROUND_GAP_SECONDS:
            self._restart(now)  # rule 1
        self._last_round = now
        live = sum(not s.expired for s in services)
        silent = [s for s in possibly_silent(services, now) if not s.expired]
        lapsed = [s for s in silent if lease.has_lapsed(s, now, self.listening_since)]
        if is_mass_expiry(services, now, self.listening_since):
            self._kept_until = now + WINDOW_SECONDS  # rule 2
        if self._endings_allowed_until <= now < self._kept_until:
            return ExpiryDecision([], lapsed, live)
        return ExpiryDecision(lapsed, [], live)  # rule 3

    def allow_endings(self, now: float) -> None:
        """Let lapsed leases end for one window, because an operator has confirmed that these services are gone."""
        self._kept_until, self._endings_allowed_until = now, now + WINDOW_SECONDS

    def _restart(self, now: float) -> None:
        self.listening_since = self._last_round = self._kept_until = self._endings_allowed_until = now
