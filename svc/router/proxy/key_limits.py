"""The limits of an API key, or of a user behind it: whether they admit a request, and the headers that report them."""

import math

from svc.base.errors import RateLimited
from svc.router.balance.account import Account
from svc.router.proxy.token_bucket import RATE_LIMITS, REQUESTS_PER_MINUTE, TOKENS_PER_DAY, Bucket, Cells, RateLimit

MAX_CLIENT_WAIT_SECONDS = 60  # for longer waits, client libraries are asked not to retry: that would hide the limit


class LimitReached(RateLimited):
    """A limit of a key is reached. `headers` has the present state of all its limits."""

    def __init__(self, message: str, retry_after: float, limits: list[tuple[str, str]]) -> None:
        super().__init__(message, retry_after)
        self._limits = limits

    def headers(self) -> dict[str, str]:
        headers = {**super().headers(), **dict(self._limits)}
        return headers | {"x-should-retry": "false"} if self.retry_after > MAX_CLIENT_WAIT_SECONDS else headers


class KeyLimits:
    """The limits of one key or user (none: unlimited), and its requests in flight in this process."""

    __slots__ = ("account", "concurrency", "in_flight", "is_limited", "requests", "tokens")

    def __init__(self, account: Account) -> None:
        self.account = account
        self.in_flight = 0
        self.is_limited = False
        self.concurrency: int | None = None
        self.requests: Bucket | None = None
        self.tokens: tuple[Bucket, ...] = ()  # the buckets for tokens, of the limits that are set

    def set_limits(
        self,
        requests_per_minute: int | None = None,
        concurrency: int | None = None,
        tokens_per_minute: int | None = None,
        tokens_per_day: int | None = None,
    ) -> None:
        """Set the limits. What was used before still counts; for a changed limit, at most as much as the new limit."""
        before = {bucket.kind: bucket.limit for bucket in self.buckets()}
        limits = (requests_per_minute, tokens_per_minute, tokens_per_day)
        buckets = [
            Bucket(kind, limit, self.cells(kind))
            for kind, limit in zip(RATE_LIMITS, limits, strict=True)
            if limit is not None
        ]
        for bucket in buckets:
            if before.get(bucket.kind, bucket.limit) != bucket.limit:
                bucket.forgive()
        self.set_buckets(concurrency, buckets)

    def set_buckets(self, concurrency: int | None, buckets: list[Bucket]) -> None:
        self.concurrency = concurrency
        self.requests = next((bucket for bucket in buckets if bucket.kind is REQUESTS_PER_MINUTE), None)
        self.tokens = tuple(bucket for bucket in buckets if bucket.kind is not REQUESTS_PER_MINUTE)
        self.is_limited = concurrency is not None or bool(buckets)

    def buckets(self) -> tuple[Bucket, ...]:
        return self.tokens if self.requests is None else (self.requests, *self.tokens)

    def cells(self, kind: RateLimit) -> Cells:
        """Return the memory of the bucket of this kind."""
        raise NotImplementedError

    def admit(self, now: float) -> None:
        """Count one more request, or raise RateLimited and count nothing. For a counted request, call `release` later.

        `now`: seconds of a monotonic clock.
        """
        if self.is_limited and (error := self.take(self.in_flight, now)) is not None:
            raise error
        self.in_flight += 1

    def take(self, in_flight: int, now: float) -> RateLimited | None:
        """Take a request from its bucket; return the error if a limit is reached, and then take nothing.

        `in_flight`: the requests in flight, in all processes.
        """
        if self.concurrency is not None and in_flight >= self.concurrency:
            return self._error("concurrent requests", self.concurrency, "once one of them is done", 1.0, now)
        if buckets := self.buckets():
            wait, bucket = max(((bucket.wait(now), bucket) for bucket in buckets), key=lambda pair: pair[0])
            if wait:
                cure = f"in {duration(math.ceil(wait))}"
                return self._error(bucket.kind.description, bucket.limit, cure, wait, now)
            if self.requests is not None:
                self.requests.take(1, now)
        return None

    def _error(self, description: str, limit: int, cure: str, wait: float, now: float) -> RateLimited:
        account = self.account
        name = f"key {account.key} and user {account.user}" if account.user else f"key {account.key}"
        message = f"Rate limit reached for {name} on {description}: Limit {limit}. Please try again {cure}."
        return LimitReached(message, wait, self.headers(now))

    def release(self) -> None:
        """Count the end of a request. Call this once for each request that was admitted."""
        assert self.in_flight > 0, f"{self!r}: released more often than admitted"
        self.in_flight -= 1

    def use_tokens(self, count: int, now: float) -> None:
        """Take from the buckets the tokens that a request has used."""
        for bucket in self.tokens:
            bucket.take(count, now)

    def restore_day(self, count: int, now: float) -> None:
        """Take from the bucket for a day, if it is unused, the tokens that were used before the router started."""
        for bucket in self.tokens:
            if bucket.kind is TOKENS_PER_DAY and bucket.is_unused:
                bucket.take(count, now)

    def headers(self, now: float) -> list[tuple[str, str]]:
        """Return the headers that report the limits of requests and tokens, as OpenAI sends them.

        The headers for tokens report the limit of which the fewest tokens are left.
        """
        headers = []
        scarcest = min(self.tokens, key=lambda bucket: bucket.level(now), default=None)
        for unit, bucket in (("requests", self.requests), ("tokens", scarcest)):
            if bucket is not None:
                headers += [
                    (f"x-ratelimit-limit-{unit}", str(bucket.limit)),
                    (f"x-ratelimit-remaining-{unit}", str(max(0, math.floor(bucket.level(now) + 1e-9)))),
                    (f"x-ratelimit-reset-{unit}", duration(bucket.seconds_until_full(now))),
                ]
        return headers

    def header_lines(self, now: float) -> bytes:
        return b"".join([f"{name}: {value}\r\n".encode() for name, value in self.headers(now)])


def duration(seconds: float) -> str:
    """Return a duration as OpenAI writes it: 120ms, 3s, 6m0s or 1h2m3s."""
    if 0 < seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
