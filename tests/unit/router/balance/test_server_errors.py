import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from svc.router.balance.routing_request import RoutingRequest
from svc.router.balance.server_errors import LAST_ANSWERS, ServerErrors
from svc.router.balance.target import Target
from svc.router.state import RouterState
from svc.router.ui import view
from tests.unit.router.examples import Clock, state, target

A, B, C = target("a", "m"), target("b", "m"), target("c", "other")
MAJORITY = LAST_ANSWERS // 2 + 1


@given(st.lists(st.booleans(), max_size=60))
def test_the_count_is_that_of_a_list_of_the_last_answers(failures: list[bool]):
    errors = ServerErrors()
    for number, failed in enumerate(failures, 1):
        if failed:
            errors.add(number)
    last = failures[-LAST_ANSWERS:]
    assert errors.count(len(failures)) == sum(last)
    assert errors.are_majority(len(failures)) is (sum(last) > LAST_ANSWERS / 2)


def answer(router: RouterState, instance: Target, *statuses: int) -> None:
    for status in statuses:
        router.balancer.begin_attempt(instance)
        router.balancer.end_attempt(instance, 0.0, failed=status >= 500, answered_500=status == 500)


def is_failing(router: RouterState, instance: Target) -> bool:
    return router.health.is_failing(instance, router.balancer.table)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def router(clock: Clock) -> RouterState:
    return state(A, B, C, clock=clock)


def end_ejection(router: RouterState, clock: Clock) -> None:
    clock.now += 1000
    router.now = clock.now
    router.sweep()


def test_an_instance_that_answers_500_while_its_peer_answers_is_ejected(router: RouterState):
    answer(router, B, 200, 200)
    answer(router, A, *[500] * (MAJORITY - 1))
    assert not is_failing(router, A)
    answer(router, A, 500)
    assert is_failing(router, A)
    assert router.balancer.table.candidates == {"b", "c"}
    assert router.balancer.pick(RoutingRequest("m")) is B
    (event,) = router.event_reporter.next_batch()
    assert event["kind"] == "ejected"
    assert event["message"].startswith("11 of its last 11 answers are 500, and other instances of its models answer;")


def test_half_of_the_answers_is_not_most_of_them(router: RouterState):
    answer(router, A, *[500, 200] * LAST_ANSWERS)
    assert not is_failing(router, A)
    answer(router, A, 500, 500)
    assert is_failing(router, A)


def test_good_answers_end_the_mark():
    router = state(A, B, failing_instances="mark")
    answer(router, A, *[500] * LAST_ANSWERS)
    assert is_failing(router, A)
    assert router.balancer.table.candidates == {"a", "b"}, "by the setting it is marked only"
    answer(router, A, *[200] * (LAST_ANSWERS // 2))
    assert not is_failing(router, A)


def test_the_requests_are_to_blame_when_all_instances_answer_500(router: RouterState):
    for _ in range(2 * LAST_ANSWERS):
        answer(router, A, 500)
        answer(router, B, 500)
    assert not is_failing(router, A)
    assert not is_failing(router, B)
    assert router.balancer.table.candidates == {"a", "b", "c"}


def test_a_peer_may_answer_some_bad_requests_with_500(router: RouterState):
    answer(router, B, *[500] * (LAST_ANSWERS // 4), *[200] * 3)
    answer(router, A, *[500] * MAJORITY)
    assert router.balancer.table.candidates == {"b", "c"}


@pytest.mark.parametrize(
    "peer", [target("b", "other"), target("b", "m", drained=True), target("b", "m", healthy=False)]
)
def test_an_instance_without_a_healthy_peer_is_neither_marked_nor_ejected(peer: Target):
    router = state(A, peer)
    answer(router, A, *[500] * LAST_ANSWERS)
    assert not is_failing(router, A)
    assert "a" in router.balancer.table.candidates


def test_a_trial_that_is_answered_500_fails(router: RouterState, clock: Clock):
    answer(router, A, *[500] * MAJORITY)
    end_ejection(router, clock)
    assert "a" in router.balancer.table.candidates
    answer(router, A, 500)
    assert "a" not in router.balancer.table.candidates
    assert "the trial request failed" not in router.event_reporter.next_batch()[0]["message"]


def test_a_good_trial_clears_the_record(router: RouterState, clock: Clock):
    answer(router, A, *[500] * MAJORITY)
    end_ejection(router, clock)
    answer(router, A, 200)
    assert not is_failing(router, A)
    answer(router, A, *[500] * (MAJORITY - 1))
    assert "a" in router.balancer.table.candidates


def test_a_restarted_instance_has_a_clean_record(router: RouterState):
    answer(router, A, *[500] * MAJORITY)
    router.replace_targets([target("a", "m", registered="later"), B])
    assert not is_failing(router, A)
    assert router.balancer.table.candidates == {"a", "b"}


def test_an_instance_that_registers_again_because_it_continues_answers_keeps_its_record(router: RouterState):
    answer(router, A, *[500] * MAJORITY)
    proven = target("a", "m", registered="later", metadata={"continues": True})
    router.replace_targets([proven, B])
    assert is_failing(router, A)
    router.replace_targets([msgspec.structs.replace(proven, registered="still later"), B])
    assert not is_failing(router, A)


def test_not_more_than_the_maximum_share_is_ejected():
    router = state(*(instances := [target(name, "m") for name in "abcd"]), max_ejected=0.25)
    for instance in instances[:2]:
        answer(router, instance, *[500] * LAST_ANSWERS)
    assert router.balancer.table.candidates == {"b", "c", "d"}
    assert is_failing(router, instances[1]), "it is marked all the same"
    health = router.health.by_instance.get("b")
    assert health is None or not health.failures, "a 500 is not counted as a failure of the transport"


def test_a_500_ends_a_row_of_failures(router: RouterState):
    for _ in range(2):
        router.balancer.begin_attempt(A)
        router.balancer.end_attempt(A, 0.0, failed=True, ejection_reason="Connection refused")
    answer(router, A, 500)
    assert router.health.by_instance["a"].failures == 0


def test_the_page_shows_the_mark(router: RouterState):
    answer(router, A, *[500] * MAJORITY)
    assert view.instance_state(router, A) == "failing, ejected"
    marked = state(A, B, failing_instances="mark")
    answer(marked, A, *[500] * MAJORITY)
    assert view.instance_state(marked, A) == "failing"
    shown = view.site(marked)["instances"][0]
    assert (shown["state"], shown["level"]) == ("failing", "bad")
    assert "500" in shown["meaning"]
