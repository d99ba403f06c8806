"""How many events a teller may send: a token bucket each."""

import threading
from collections.abc import Callable
from typing import NamedTuple

from svc.errors import RateLimited

EVENTS_PER_SECOND = 1.0
BURST_EVENTS = 100.0
MAX_BUCKETS = 1000


class Bucket(NamedTuple):
    """`tokens` at the time `at`; below zero while a large request is worked off."""

    tokens: float
    at: float


def refilled(bucket: Bucket, now: float) -> Bucket:
    """Return the bucket as it is now: pure."""
    return Bucket(min(BURST_EVENTS, bucket.tokens + max(0.0, now - bucket.at) * EVENTS_PER_SECOND), now)


class Rates:
    """The buckets of all tellers; those of tellers that were silent for long are full and forgotten."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._buckets: dict[str, Bucket] = {}
        self._lock = threading.Lock()

    def take(self, teller: str, events: int) -> None:
        """Takes a token for each event; raises RateLimited, with the seconds to wait, while none is left.

        A request that takes more than there are is accepted, and the next one waits longer: so one of the largest size
        can always be sent some time.
        """
        with self._lock:
            now = self._clock()
            bucket = refilled(self._buckets.pop(teller, Bucket(BURST_EVENTS, now)), now)
            allowed = bucket.tokens >= 1
            self._buckets[teller] = Bucket(bucket.tokens - events, now) if allowed else bucket
            if len(self._buckets) > MAX_BUCKETS:
                self._forget(now)
        if not allowed:
            raise RateLimited(
                f"more than {EVENTS_PER_SECOND * 60:.0f} events a minute, after {BURST_EVENTS:.0f} at once",
                retry_after=(1 - bucket.tokens) / EVENTS_PER_SECOND,
            )

    def _forget(self, now: float) -> None:
        """Forget the full buckets, else the one that was used least recently."""
        full = [name for name, bucket in self._buckets.items() if refilled(bucket, now).tokens >= BURST_EVENTS]
        for name in full or [next(iter(self._buckets))]:
            del self._buckets[name]
