"""The rate limit for events: one token bucket for each reporter."""

import threading
from collections.abc import Callable
from typing import NamedTuple

EVENTS_PER_SECOND = 1.0
BURST_EVENTS = 100.0
MAX_BUCKETS = 1000


class Bucket(NamedTuple):
    """A token bucket at the time `at`. `tokens` is negative after a request that took more tokens than there were."""

    tokens: float
    at: float


def refilled(bucket: Bucket, now: float) -> Bucket:
    """Return the bucket with the tokens that have been added until `now`."""
    return Bucket(min(BURST_EVENTS, bucket.tokens + max(0.0, now - bucket.at) * EVENTS_PER_SECOND), now)


class EventRateLimiter:
    """The buckets of all reporters. A missing bucket counts as a full one, so full ones may be dropped."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._buckets: dict[str, Bucket] = {}
        self._lock = threading.Lock()

    def acquire(self, reporter: str, count: int) -> float:
        """Take a token for each of `count` events and return 0; if there is none, return the seconds until the next.

        One token is enough to accept all events of a request. If they take more tokens than there are, the reporter
        waits longer for its next token. Otherwise a request with more events than a full bucket would always fail.
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
        """Drop all full buckets; if no bucket is full, drop the least recently used one."""
        full = [name for name, bucket in self._buckets.items() if refilled(bucket, now).tokens >= BURST_EVENTS]
        for name in full or [next(iter(self._buckets))]:
            del self._buckets[name]
