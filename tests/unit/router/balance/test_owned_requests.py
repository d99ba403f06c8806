"""The choice of the one instance that has an object: whether a request waits for it."""

import pytest

from svc.base.errors import RateLimited
from svc.router.balance.owned_requests import choose_owner_or_wait
from svc.router.balance.queued_requests import choose_or_wait
from svc.router.balance.request_queue import Waiter
from svc.router.balance.routing_request import RoutingRequest
from svc.router.balance.target import Target
from svc.router.state import RouterState
from svc.router.workers.shared_counts import SharedCounts
from tests.unit.router.examples import Clock, state, target
from tests.unit.router.workers.examples import RelayingProcess

FULL = target("a", "m", metadata={"max_concurrency": 1})
FREE = target("b", "m")
ABOUT_A = RoutingRequest("m", owner=FULL)


def choose(router: RouterState, is_inference: bool, on_wait: object = None) -> Target:
    return choose_owner_or_wait(router.balancer, ABOUT_A, on_wait or never, 60.0, is_inference)


def never(waiter: Waiter) -> None:
    raise AssertionError("it waits")


@pytest.fixture
def router() -> RouterState:
    router = state(FULL, FREE, clock=Clock())
    router.balancer.begin_attempt(FULL)
    return router


def test_a_request_that_generates_nothing_does_not_wait(router: RouterState):
    assert choose(router, is_inference=False) is FULL


def test_inference_waits_until_its_instance_is_free_and_goes_to_no_other(router: RouterState):
    assert choose(router, True, lambda waiter: router.balancer.end_attempt(FULL, 1.0, False) if full(router) else None)
    assert not full(router)


def full(router: RouterState) -> bool:
    return "a" in router.balancer.full


def test_inference_that_waits_delays_no_other_request(router: RouterState):
    router.balancer.queue.join("m", 1e9, 1, ordered=False)
    assert choose_or_wait(router.balancer, RoutingRequest("m"), never) is FREE


def test_after_the_wait_the_error_names_the_instance(router: RouterState):
    with pytest.raises(RateLimited, match="a, which has what the request continues, is busy"):
        choose(router, True, lambda waiter: router.balancer.queue.expire(1e9))


def test_a_process_claims_its_place_at_the_owner():
    counts = SharedCounts(2)
    first, second = (RelayingProcess(counts, slot, FULL, FREE) for slot in (0, 1))
    assert choose_owner_or_wait(first.balancer, ABOUT_A, never, 60.0, True) is FULL
    assert not second.balancer.claim_place(FULL)
    assert choose_owner_or_wait(second.balancer, ABOUT_A, never, 60.0, False) is FULL
    second.balancer.begin_attempt(FULL)
    assert second.balancer.loads.get("a") == 2
    assert second.balancer.claim_place(FREE)
    counts.close()
