"""The rate at which a reporter may send events."""

import pytest

from svc.registry.access import rate_limit
from svc.registry.access.rate_limit import EventRateLimiter


class LimiterWithClock:
    """A limiter, and the clock that it reads."""

    def __init__(self):
        self.now = 0.0
        self.limiter = EventRateLimiter(lambda: self.now)

    def wait_of(self, events, reporter="a"):
        """Return the seconds to wait; 0 for events that are accepted."""
        return self.limiter.acquire(reporter, events)


def test_after_a_burst_one_event_a_second_is_accepted():
    limiter = LimiterWithClock()
    assert [limiter.wait_of(1) for _ in range(101)] == [0] * 100 + [1]
    limiter.now = 1.0
    assert [limiter.wait_of(1), limiter.wait_of(1)] == [0, 1]
    limiter.now = 3600.0
    assert [limiter.wait_of(1) for _ in range(101)] == [0] * 100 + [1]


def test_a_large_request_is_accepted_and_the_next_waits_longer():
    limiter = LimiterWithClock()
    assert [limiter.wait_of(50), limiter.wait_of(100), limiter.wait_of(1)] == [0, 0, 51]
    limiter.now = 51.0
    assert limiter.wait_of(100) == 0


def test_each_reporter_has_its_own_limit():
    limiter = LimiterWithClock()
    assert [limiter.wait_of(100), limiter.wait_of(1), limiter.wait_of(1, "b")] == [0, 1, 0]


def test_the_number_of_buckets_is_limited(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rate_limit, "MAX_BUCKETS", 3)
    limiter = LimiterWithClock()
    for reporter in "abcdefgh":
        limiter.wait_of(50, reporter)
    assert len(limiter.limiter._buckets) == 3
    assert limiter.wait_of(100, "h") == 0
    assert limiter.wait_of(1, "h") > 0, "the newest bucket is kept"
    limiter.now = 3600.0
    limiter.wait_of(1, "z")
    assert list(limiter.limiter._buckets) == ["z"], "full buckets are dropped"


def test_a_clock_that_goes_back_adds_no_tokens():
    limiter = LimiterWithClock()
    limiter.wait_of(100)
    limiter.now = -1000.0
    assert limiter.wait_of(1) == 1
