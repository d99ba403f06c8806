"""API keys whose limits count the requests of all processes."""

from svc.router.proxy.api_keys import ApiKey, take_token
from svc.router.workers.shared_counts import SharedCounts, becomes_true

TOKENS, SINCE = 0, 1  # the cells of a token bucket, as doubles


class SharedApiKey(ApiKey):
    """One API key in one of several processes. Its limits are checked under the lock, so that they are exact."""

    __slots__ = ("_bucket", "_counts", "_row")

    def __init__(self, name: str, counts: SharedCounts) -> None:
        super().__init__(name)
        self._counts = counts
        self._row = counts.row(f"key {name}")
        self._bucket = counts.common(f"bucket {name}").cast("B").cast("d")

    def admit(self, now: float) -> None:
        if self.concurrency is None and self.requests_per_minute is None:
            self._row[self._counts.slot] += 1
        else:
            limit = self.concurrency
            becomes_true(lambda: limit is None or sum(self._row) < limit)
            with self._counts.lock:
                error = self._take(now)
            if error is not None:
                raise error
        self.in_flight += 1

    def _take(self, now: float) -> Exception | None:
        """Count one more request, or return the error; call this under the lock."""
        limit, rate, bucket = self.concurrency, self.requests_per_minute, self._bucket
        if limit is not None and sum(self._row) >= limit:
            return self.concurrency_error()
        if rate is not None:
            tokens = bucket[TOKENS] if bucket[SINCE] else float(rate)  # a bucket is full at first
            bucket[TOKENS], wait = take_token(tokens, now - bucket[SINCE], rate)
            bucket[SINCE] = max(now, bucket[SINCE])
            if wait:
                return self.rate_error(wait)
        self._row[self._counts.slot] += 1
        return None

    def release(self) -> None:
        super().release()
        self._row[self._counts.slot] -= 1
