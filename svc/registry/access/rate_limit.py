"""The rate at which each reporter may send events: one token bucket for each."""

import threading
from collections.abc import Callable
from typing import NamedTuple

EVENTS_PER_SECOND = 1.0
BURST_EVENTS = 100.0
MAX_BUCKETS = 1000


class Bucket(NamedTuple):
    """`tokens` at the time `at`; below zero after a request that took more than there were."""

    tokens: float
    at: float


def refilled(bucket: Bucket, now: float) -> Bucket:
    """Return the bucket with the tokens that have been added until `now`."""
    return Bucket(min(BURST_EVENTS, bucket.tokens + max(0.0, now - bucket.at) * EVENTS_PER_SECOND), now)


class EventRateLimiter:
    """The buckets of all reporters. A full bucket is the same as none, so it may be dropped."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._buckets: dict[str, Bucket] = {}
        self._lock = threading.Lock()

    def acquire(self, reporter: str, count: int) -> float:
        """Take a token for each of `count` events and return 0; without a token, return the seconds to wait for one.

        A request may take more tokens than there are; the next one then waits longer. Without that, a request larger
        than the bucket could never be accepted.
        """
        with self._lock:
            now = self._clock()
            bucket = refilled(self._buckets.pop(reporter, Bucket(BURST_EVENTS, now)), now)
            is_accepted = bucket.tokens >= 1
            self._buckets[reporter] = Bucket(bucket.tokens - count, now) if is_accepted else bucket
            if len(self._buckets) > MAX_BUCKETS:
                self._drop_buckets(now)
        return 0.0 if is_accepted else (1 - bucket.tokens) / EVENTS_PER_SECOND

    def _drop_buckets(self, now: float) -> None:
        """Drop the full buckets; if there is none, drop the least recently used one."""
        full = [name for name, bucket in self._buckets.items() if refilled(bucket, now).tokens >= BURST_EVENTS]
        for name in full or [next(iter(self._buckets))]:
            del self._buckets[name]
