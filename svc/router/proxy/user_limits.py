"""The limits of one user behind an API key, for one request."""

from svc.router.balance.account import Account
from svc.router.proxy.api_keys import ApiKey
from svc.router.proxy.key_limits import KeyLimits
from svc.router.proxy.token_bucket import RATE_LIMITS, Bucket, Cells, RateLimit
from svc.router.proxy.user_rows import UserRows


class UserLimits(KeyLimits):
    """The limits of a key apply to each user separately. What a user has used is in its row of shared memory."""

    __slots__ = ("_key", "_row", "_rows")

    def __init__(self, key: ApiKey, account: Account, rows: UserRows) -> None:
        super().__init__(account)
        self._key = key
        self._rows = rows
        self._row = -1

    def cells(self, kind: RateLimit) -> Cells:
        return self._rows.bucket(self._row, RATE_LIMITS.index(kind))

    def admit(self, now: float) -> None:
        rows, limit = self._rows, self._key.concurrency
        if limit is not None:
            rows.becomes_true(lambda: self._count_all(now) < limit)
        with rows.lock:
            self._find_row(now)
            error = self.take(rows.in_flight(self._row), now)
            if error is None:
                rows.count(self._row, 1)
                self.in_flight = 1
        if error is not None:
            raise error

    def release(self) -> None:
        super().release()
        with self._rows.lock:
            self._rows.count(self._row, -1)

    def use_tokens(self, count: int, now: float) -> None:
        with self._rows.lock:
            self._find_row(now)  # once the request was released, the row may have become another user's
            super().use_tokens(count, now)

    def restore_day(self, count: int, now: float) -> None:
        with self._rows.lock:
            self._find_row(now)
            super().restore_day(count, now)

    def _count_all(self, now: float) -> int:
        with self._rows.lock:
            return self._rows.in_flight(self._rows.find(self.account.name, now))

    def _find_row(self, now: float) -> None:
        self._row = self._rows.find(self.account.name, now)
        buckets = [Bucket(bucket.kind, bucket.limit, self.cells(bucket.kind)) for bucket in self._key.buckets()]
        if self._rows.note_version(self._row, self._key.limits_version):
            for bucket in buckets:
                bucket.forgive()
        self.set_buckets(self._key.concurrency, buckets)
