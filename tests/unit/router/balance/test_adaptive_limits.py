"""Limits that follow from the loads of engines: `max_concurrency = "auto"`."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svc.protocol.instance_load import InstanceLoad, ListedLoad
from svc.router.balance.adaptive_limits import FIRST_LIMIT, FORGET_SECONDS, AdaptiveLimit, AdaptiveLimits
from svc.router.balance.routing_request import RoutingRequest
from tests.unit.router.examples import Clock, state, target

AUTO = target("a", "m", metadata={"max_concurrency": "auto"})


def load(running: int, waiting: int = 0) -> InstanceLoad:
    return InstanceLoad(running=running, waiting=waiting)


class Engine:
    """An engine that works on so many requests at once, and has its own queue."""

    def __init__(self, places: int) -> None:
        self.places = places

    def load(self, requests: int) -> InstanceLoad:
        return load(min(requests, self.places), max(0, requests - self.places))


@pytest.mark.parametrize("places", [1, 4, 16, 100, 256])
def test_the_limit_settles_near_what_the_engine_runs_at_once(places: int):
    engine, adaptive = Engine(places), AdaptiveLimit()
    limits = []
    for _ in range(60):
        requests = adaptive.limit  # clients send more than that all the time
        adaptive = adaptive.next(engine.load(requests), requests, is_reached=True)
        limits.append(adaptive.limit)
    few = 1 + places // 16
    assert all(places <= limit <= places + max(few, 1 + places // 8) for limit in limits[30:])
    assert limits[10] >= min(places, 256), "in the beginning it doubles"


def test_a_limit_that_is_not_reached_stays():
    adaptive = AdaptiveLimit(limit=16)
    assert adaptive.next(load(3), 3, is_reached=False) == adaptive


def test_requests_of_other_routers_leave_each_its_part():
    adaptive = AdaptiveLimit(limit=100).next(load(running=40, waiting=43), own=50, is_reached=True)
    assert adaptive.limit == 50 - (43 - 3) * 50 // 83


def test_requests_that_ended_since_the_report_do_not_raise_the_limit():
    """Of short requests, many end between two reports."""
    adaptive = AdaptiveLimit(limit=11).next(load(running=4, waiting=7), own=11 + 6, is_reached=True)
    assert adaptive.limit == 5


@given(st.integers(1, 300), st.integers(0, 500), st.integers(0, 500), st.integers(0, 900), st.booleans())
def test_a_limit_is_at_least_one(limit: int, running: int, waiting: int, own: int, reached: bool):
    assert AdaptiveLimit(limit=limit).next(load(running, waiting), own, reached).limit >= 1


def test_an_engine_whose_capacity_changes_is_followed():
    """The KV cache of an engine has room for fewer long requests than short ones."""
    draw, adaptive = random.Random(1), AdaptiveLimit()
    for places in (64, 12, 40):
        engine = Engine(places)
        for _ in range(40):
            requests = adaptive.limit + draw.randint(-1, 0)
            adaptive = adaptive.next(engine.load(requests), requests, is_reached=requests >= adaptive.limit)
        assert places <= adaptive.limit <= places + 2 + places // 8


def update(limits: AdaptiveLimits, now: float, reported_at: float | None, waiting: int = 0) -> dict[str, int]:
    reports = {} if reported_at is None else {"a": (load(16, waiting), reported_at)}
    return limits.update(["a"], reports, {"a": 16 + waiting}, lambda name: 99, now)


def test_each_report_counts_once():
    limits = AdaptiveLimits()
    assert update(limits, now=10, reported_at=9) == {"a": 2 * FIRST_LIMIT}
    assert update(limits, now=11, reported_at=9.01) == {"a": 2 * FIRST_LIMIT}, "the same report"
    assert update(limits, now=12, reported_at=11) == {"a": 4 * FIRST_LIMIT}


def test_an_engine_that_reports_nothing_has_no_limit():
    limits = AdaptiveLimits()
    assert update(limits, now=10, reported_at=None) == {}
    update(limits, now=11, reported_at=11, waiting=20)
    assert update(limits, now=11 + FORGET_SECONDS, reported_at=None) == {"a": FIRST_LIMIT}
    assert update(limits, now=12 + FORGET_SECONDS, reported_at=None) == {}
    assert AdaptiveLimits().update([], {"a": (load(1), 1.0)}, {}, lambda name: 0, 1.0) == {}


def test_requests_wait_in_the_router_once_the_limit_is_found():
    clock = Clock()
    router = state(AUTO, clock=clock)
    request = RoutingRequest("m")
    for _ in range(30):
        assert router.balancer.pick(request) is not None, "nothing is known yet"
        router.balancer.begin_attempt(AUTO)
    router.set_loads({"a": ListedLoad(service="a", age=0.0, running=8, waiting=22)}, {"a": 30})
    assert router.balancer.work.view.limits == {"a": 9}
    assert router.balancer.pick(request) is None
    for _ in range(22):
        router.balancer.end_attempt(AUTO, 1.0, failed=False)
    assert router.balancer.pick(request) is AUTO
    router.balancer.begin_attempt(AUTO)
    assert router.balancer.pick(request) is None


def test_waiting_requests_are_woken_when_the_limit_rises():
    clock = Clock()
    router = state(AUTO, clock=clock)
    for _ in range(16):
        router.balancer.begin_attempt(AUTO)
    router.set_loads({"a": ListedLoad(service="a", age=0.0, running=15, waiting=1)}, {"a": 16})
    assert router.balancer.pick(RoutingRequest("m")) is None
    waiter = router.balancer.queue.join("m", 1e9, 1)
    clock.now += 2
    router.set_loads({"a": ListedLoad(service="a", age=0.0, running=16, waiting=0)}, {"a": 16})
    assert router.balancer.work.view.limits == {"a": 32}
    waiter.wait()
    assert router.balancer.pick(RoutingRequest("m")) is AUTO
