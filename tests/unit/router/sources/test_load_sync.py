"""How the router follows the loads that the registry has."""

import pytest

from svc.base.errors import NotFound, Unavailable
from svc.protocol.instance_load import ListedLoad
from svc.router.balance.routing_request import RoutingRequest
from svc.router.sources.load_sync import RETRY_INTERVAL_SECONDS, LoadSync, uses_loads
from svc.settings import RouterSettings
from tests.unit.router.examples import Clock, state, target


class FakeRegistry:
    def __init__(self) -> None:
        self.answer: list[ListedLoad] | Exception = []

    def loads(self):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def load(name, running=1, age=0.0, **values):
    return ListedLoad(service=name, age=age, running=running, waiting=0, **values)


@pytest.fixture
def registry():
    return FakeRegistry()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def router():
    return state(target("a", "m"), target("b", "m"))


def test_loads_are_used_until_they_are_too_old(registry, router, clock):
    sync = LoadSync(router, registry, clock)
    registry.answer = [load("a", running=4), load("b", age=5.0)]
    assert sync.run_round() == 2.0
    assert router.loads.keys() == {"a", "b"}
    assert router.balancer.work.view.foreign == {"a": 4, "b": 1}
    registry.answer = Unavailable("it is away")
    clock.now += 2.0
    assert sync.run_round() == 2.0
    assert router.loads.keys() == {"a"}, "the other is 7 s old"
    clock.now += 5.0
    sync.run_round()
    assert router.loads == {}
    assert not router.balancer.work.is_tracked


def test_an_older_registry_is_asked_rarely(registry, router, clock):
    registry.answer = NotFound("no such path")
    assert LoadSync(router, registry, clock).run_round() == RETRY_INTERVAL_SECONDS


def test_requests_in_flight_of_the_router_are_not_those_of_others(registry, router, clock):
    router.balancer.begin_attempt(target("a", "m"))
    registry.answer = [load("a", running=4), load("b", running=4, kv_cache=0.99)]
    LoadSync(router, registry, clock).run_round()
    assert router.balancer.work.view.foreign == {"a": 3, "b": 4}
    assert router.balancer.work.view.crowded == {"b"}
    assert {router.balancer.pick(request).name for request in [RoutingRequest("m")] * 4} == {"a"}


def test_requests_that_have_ended_since_the_load_are_not_those_of_others(registry, router, clock):
    sync, a = LoadSync(router, registry, clock), target("a", "m")
    registry.answer = []
    sync.run_round()
    for _ in range(3):
        router.balancer.begin_attempt(a)
        router.balancer.end_attempt(a, 0.5, failed=False)
    clock.now += 2.0
    registry.answer = [load("a", running=5, age=1.0)]
    sync.run_round()
    assert router.balancer.work.view.foreign == {"a": 2}
    clock.now += 2.0
    sync.run_round()
    assert router.balancer.work.view.foreign == {"a": 5}, "none has ended since"


@pytest.mark.parametrize(
    ("settings", "uses"),
    [
        ({"registry_url": "http://r"}, True),
        ({"registry_url": "http://r", "load_interval": 0.0}, False),
        ({"registry_url": ""}, False),
    ],
)
def test_loads_are_read_only_from_a_registry(settings, uses):
    assert uses_loads(RouterSettings(**settings)) is uses


@pytest.mark.parametrize(
    ("settings", "limit", "uses"),
    [
        ({"policy": "auto"}, 0, True),
        ({"policy": "round_robin"}, 0, False),
        ({"policy": "round_robin"}, "auto", True),
        ({"policy": "round_robin", "policies": (("m", "least_load"),)}, 0, True),
    ],
)
def test_loads_are_read_only_for_a_policy_or_a_limit_that_uses_them(registry, clock, settings, limit, uses):
    router = state(target("a", "m", metadata={"max_concurrency": limit}), **settings)
    registry.answer = [load("a", running=4)]
    LoadSync(router, registry, clock).run_round()
    assert bool(router.loads) is uses


def test_a_limit_alone_does_not_make_the_router_track_work(registry, clock):
    router = state(target("a", "m", metadata={"max_concurrency": "auto"}), policy="round_robin")
    registry.answer = [load("a", running=4)]
    LoadSync(router, registry, clock).run_round()
    assert router.balancer.work.view.limits == {"a": 16}
    assert not router.balancer.work.is_tracked
