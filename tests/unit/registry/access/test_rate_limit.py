"""How many events one reporter may send."""

import pytest

from svc.registry.access import rate_limit
from svc.registry.access.rate_limit import EventRateLimiter


class World:
    def __init__(self):
        self.now = 0.0
        self.limiter = EventRateLimiter(lambda: self.now)

    def wait_of(self, events, reporter="a"):
        """Return the seconds to wait; 0 for events that are accepted."""
        return self.limiter.acquire(reporter, events)


def test_after_a_burst_one_a_second_is_taken():
    world = World()
    assert [world.wait_of(1) for _ in range(101)] == [0] * 100 + [1]
    world.now = 1.0
    assert [world.wait_of(1), world.wait_of(1)] == [0, 1]
    world.now = 3600.0
    assert [world.wait_of(1) for _ in range(101)] == [0] * 100 + [1]


def test_the_largest_request_is_taken_and_the_next_waits_longer():
    world = World()
    assert [world.wait_of(50), world.wait_of(100), world.wait_of(1)] == [0, 0, 51]
    world.now = 51.0
    assert world.wait_of(100) == 0


def test_one_reporter_takes_nothing_from_another():
    world = World()
    assert [world.wait_of(100), world.wait_of(1), world.wait_of(1, "b")] == [0, 1, 0]


def test_what_is_remembered_of_reporters_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rate_limit, "MAX_BUCKETS", 3)
    world = World()
    for reporter in "abcdefgh":
        world.wait_of(50, reporter)
    assert len(world.limiter._buckets) == 3
    assert world.wait_of(100, "h") == 0
    assert world.wait_of(1, "h") > 0, "the newest is remembered"
    world.now = 3600.0
    world.wait_of(1, "z")
    assert list(world.limiter._buckets) == ["z"], "the full ones are forgotten"


def test_a_clock_that_goes_back_gives_nothing():
    world = World()
    world.wait_of(100)
    world.now = -1000.0
    assert world.wait_of(1) == 1
