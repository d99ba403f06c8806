"""Token buckets: the limits of an API key in requests or tokens for a time. Pure."""

from collections.abc import MutableSequence
from typing import NamedTuple, TypeAlias

Cells: TypeAlias = "MutableSequence[float] | memoryview[float]"  # the two cells of a bucket; 0.0 in an unused one
MISSING, FILLED_AT = 0, 1  # the amount that the bucket lacks, and the time at which that was computed
ONE = 1 - 1e-9  # one, minus the rounding error of adding fractions


class RateLimit(NamedTuple):
    """A kind of limit: a number of requests or of tokens in `seconds`."""

    field: str  # name of the field in the file of keys
    description: str  # the wording of OpenAI's error messages
    seconds: float


REQUESTS_PER_MINUTE = RateLimit("requests_per_minute", "requests per min (RPM)", 60.0)
TOKENS_PER_MINUTE = RateLimit("tokens_per_minute", "tokens per min (TPM)", 60.0)
TOKENS_PER_DAY = RateLimit("tokens_per_day", "tokens per day (TPD)", 86400.0)
RATE_LIMITS = (REQUESTS_PER_MINUTE, TOKENS_PER_MINUTE, TOKENS_PER_DAY)


class Bucket:
    """A bucket that holds `limit` and fills continuously, within the seconds of its kind. It is full at first.

    What a request uses may be taken after the request was admitted, so the level may fall below zero. Then nothing is
    admitted until the level is positive again. Times are seconds of a monotonic clock.
    """

    __slots__ = ("_cells", "kind", "limit")

    def __init__(self, kind: RateLimit, limit: int, cells: Cells) -> None:
        self.kind = kind
        self.limit = limit
        self._cells = cells

    @property
    def is_unused(self) -> bool:
        return self._cells[FILLED_AT] == 0

    def level(self, now: float) -> float:
        """Return what is in the bucket now; below zero if more was used than admitted."""
        cells = self._cells
        missing = max(0.0, cells[MISSING] - max(0.0, now - cells[FILLED_AT]) * self.limit / self.kind.seconds)
        return self.limit - missing

    def wait(self, now: float) -> float:
        """Return the seconds until the bucket holds one request or token; 0 if it does."""
        level = self.level(now)
        return 0.0 if level >= ONE else (1 - level) * self.kind.seconds / self.limit

    def take(self, amount: int, now: float) -> None:
        """Take this amount from the bucket, even if the bucket holds less."""
        cells = self._cells
        cells[MISSING], cells[FILLED_AT] = self.limit - self.level(now) + amount, max(now, cells[FILLED_AT])

    def forgive(self) -> None:
        """Raise a level below zero to zero. After a limit was lowered, it could take days to rise by itself."""
        self._cells[MISSING] = min(self._cells[MISSING], self.limit)

    def seconds_until_full(self, now: float) -> float:
        return (self.limit - self.level(now)) * self.kind.seconds / self.limit
