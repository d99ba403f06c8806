"""The rate limit for events: one token bucket for each reporter."""

import threading
from collections.abc import Callable
from typing import NamedTuple

EVENTS_PER_SECOND = 1.0
BURST_EVENTS = 100.0
MAX_BUCKETS = 1000


class BucketLevel(NamedTuple):
    """The tokens of a bucket at the time `at`.

    A request may take more tokens than there are: `tokens` is then negative.
    """

    tokens: float
    at: float


def refilled(bucket: BucketLevel, now: float) -> BucketLevel:
    """Return the bucket at the time `now`, with the tokens that have been added since `bucket.at`."""
    return BucketLevel(min(BURST_EVENTS, bucket.tokens + max(0.0, now - bucket.at) * EVENTS_PER_SECOND), now)


class EventRateLimiter:
    """The buckets of all reporters. A missing bucket counts as full, so a full bucket may be dropped."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._buckets: dict[str, BucketLevel] = {}
        self._lock = threading.Lock()

    def acquire(self, reporter: str, count: int) -> float:
        """Take one token for each of `count` events from the bucket of `reporter`, and return 0.

        If the bucket has less than one token, take none, and return the seconds until it has one. One token is enough
        to accept all events of a request, even if the number of tokens becomes negative: otherwise a request with more
        events than a full bucket has tokens would always be refused.
        """
        with self._lock:
            now = self._clock()
            bucket = refilled(self._buckets.pop(reporter, BucketLevel(BURST_EVENTS, now)), now)
            is_accepted = bucket.tokens >= 1
            self._buckets[reporter] = BucketLevel(bucket.tokens - count, now) if is_accepted else bucket
            if len(self._buckets) > MAX_BUCKETS:
                self._drop_buckets(now)
        return 0.0 if is_accepted else (1 - bucket.tokens) / EVENTS_PER_SECOND

    def _drop_buckets(self, now: float) -> None:
        """Drop all full buckets; if no bucket is full, drop the least recently used one."""
        full = [name for name, bucket in self._buckets.items() if refilled(bucket, now).tokens >= BURST_EVENTS]
        for name in full or [next(iter(self._buckets))]:
            del self._buckets[name]
