"""How many events each reporter may send: one token bucket for each."""

import threading
from collections.abc import Callable
from typing import NamedTuple

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


class EventRateLimiter:
    """The buckets of all reporters; those of reporters that sent nothing for long are full and forgotten."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._buckets: dict[str, Bucket] = {}
        self._lock = threading.Lock()

    def acquire(self, reporter: str, count: int) -> float:
        """Take a token for each of `count` events and return 0; return the seconds to wait while none is left.

        A request that takes more tokens than there are is accepted, and the next one waits longer: so the largest
        request can always be sent at some time.
        """
        with self._lock:
            now = self._clock()
            bucket = refilled(self._buckets.pop(reporter, Bucket(BURST_EVENTS, now)), now)
            is_accepted = bucket.tokens >= 1
            self._buckets[reporter] = Bucket(bucket.tokens - count, now) if is_accepted else bucket
            if len(self._buckets) > MAX_BUCKETS:
                self._forget(now)
        return 0.0 if is_accepted else (1 - bucket.tokens) / EVENTS_PER_SECOND

    def _forget(self, now: float) -> None:
        """Forget the full buckets, else the one that was used least recently."""
        full = [name for name, bucket in self._buckets.items() if refilled(bucket, now).tokens >= BURST_EVENTS]
        for name in full or [next(iter(self._buckets))]:
            del self._buckets[name]
