"""What happens to a request after instances have refused its connection."""

from collections.abc import Callable

from svc.router.balance.refused_requests import choose_again_or_wait
from svc.router.balance.request_queue import OnWait, Waiter
from svc.router.balance.routing_request import RoutingRequest
from svc.router.balance.target import Target
from svc.router.state import RouterState
from tests.unit.router.examples import state, target

M = RoutingRequest("m")
A, B = target("a", "m"), target("b", "m")
LIMITED = target("b", "m", metadata={"max_concurrency": 1})


def again(router: RouterState, on_wait: OnWait, refused: tuple[Target, ...], taken: tuple[str, ...]) -> Target | None:
    return choose_again_or_wait(router.balancer, M, on_wait, refused, taken, 60.0)


def steps(*works: Callable[[], object]) -> Callable[[Waiter], None]:
    """Return a function for `on_wait` that does one of the works before each wait."""
    remaining = [work for each in works for work in (each, lambda: None)]  # it is called before and after each wait

    def on_wait(waiter: Waiter) -> None:
        assert remaining, "it waits for ever"
        remaining.pop(0)()

    return on_wait


def expire(router: RouterState) -> Callable[[], None]:
    return lambda: router.balancer.queue.expire(router.now + 999)


def test_an_instance_that_refused_gets_the_request_once_its_entry_has_changed():
    router = state(A)
    restarted = target("a", "m", registered="later")
    back = steps(lambda: router.replace_targets([A]), lambda: router.replace_targets([restarted]))
    assert again(router, back, (A,), ()) is restarted


def test_another_instance_that_becomes_free_gets_the_request():
    router = state(A, LIMITED)
    router.balancer.begin_attempt(LIMITED)
    free = steps(lambda: router.balancer.end_attempt(LIMITED, 1.0, failed=False))
    assert again(router, free, (A,), ()) is LIMITED


def test_a_request_waits_longer_for_instances_that_restart():
    router = state(target("a", "m", status="starting"))
    restarted = target("a", "m", registered="later")
    late = steps(expire(router), lambda: router.replace_targets([restarted]))
    assert again(router, late, (A,), ()) is restarted


def test_an_instance_that_returned_unnoticed_is_tried_in_the_end():
    router = state(A)
    assert again(router, steps(expire(router)), (A,), ()) is A


def test_an_instance_that_has_taken_the_request_does_not_get_it_again():
    router = state(A, B)
    assert again(router, steps(expire(router), expire(router)), (A,), ("b",)) is A
    assert again(router, steps(expire(router), expire(router)), (), ("a", "b")) is None
