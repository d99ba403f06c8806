"""API keys whose limits count the requests of all processes."""

from svc.router.proxy.api_keys import ApiKey
from svc.router.proxy.token_bucket import REQUESTS_PER_MINUTE, TOKENS_PER_DAY, TOKENS_PER_MINUTE, Cells, RateLimit
from svc.router.workers.shared_counts import SharedCounts, becomes_true

ROW_KINDS = {REQUESTS_PER_MINUTE: "bucket", TOKENS_PER_MINUTE: "minute", TOKENS_PER_DAY: "day"}


class SharedApiKey(ApiKey):
    """One API key in one of several processes. Its limits are checked under the lock, so that they are exact."""

    __slots__ = ("_counts", "_row")

    def __init__(self, name: str, counts: SharedCounts) -> None:
        super().__init__(name)
        self._counts = counts
        self._row = counts.row(f"key {name}")

    def cells(self, kind: RateLimit) -> Cells:
        """Return cells in shared memory. A limit that the key does not have takes none."""
        return self._counts.common(f"{ROW_KINDS[kind]} {self.name}").cast("B").cast("d")

    def admit(self, now: float) -> None:
        if self.is_limited:
            limit = self.concurrency
            becomes_true(lambda: limit is None or sum(self._row) < limit)
            with self._counts.lock:
                error = self.take(sum(self._row), now)
                if error is None:
                    self._row[self._counts.slot] += 1
            if error is not None:
                raise error
        else:
            self._row[self._counts.slot] += 1
        self.in_flight += 1

    def release(self) -> None:
        super().release()
        self._row[self._counts.slot] -= 1

    def use_tokens(self, count: int, now: float) -> None:
        with self._counts.lock:
            super().use_tokens(count, now)

    def restore_day(self, count: int, now: float) -> None:
        with self._counts.lock:
            super().restore_day(count, now)
