from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svc.base.errors import RateLimited, Unavailable
from svc.router.balance.request_queue import RequestQueue, Waiter
from svc.router.balance.routing_request import RoutingRequest
from svc.router.balance.table import Target
from svc.router.state import RouterState
from tests.unit.router.made import Clock, state, target

M, ANY = RoutingRequest("m"), RoutingRequest()


def lines(size: int = 9) -> RequestQueue:
    return RequestQueue(size)


def woken(place: Waiter) -> bool:
    """Whether it was told to look again since the last time."""
    told = place._event.is_set()  # noqa: SLF001
    place._event.clear()  # noqa: SLF001
    return told


def test_first_come_first_served():
    made = lines()
    a, b, c = (made.join("m", 10, 1) for _ in range(3))
    made.wake(["m"])
    assert [woken(p) for p in (a, b, c)] == [True, False, False]
    made.leave("m", a)
    assert [woken(p) for p in (b, c)] == [True, False]
    assert made.first("m", b)
    assert made.lengths() == {"m": 2}


def test_who_leaves_the_middle_gives_up_no_place_but_its_own():
    made = lines()
    a, b, c = (made.join("m", 10, 1) for _ in range(3))
    made.leave("m", b)
    assert made.first("m", a)
    made.leave("m", a)
    assert made.first("m", c)


def test_among_models_who_came_first_looks_first(monkeypatch: pytest.MonkeyPatch):
    """An instance with several models: no model's line starves another's."""
    made, order = lines(), []
    monkeypatch.setattr(Waiter, "wake", lambda place: order.append(place))
    places = [made.join(model, 10, 1) for model in ("b", None, "a")]
    made.wake(["a", "b", "c", None])
    assert order == places


def test_a_full_queue_refuses_and_tells_when_to_come_again():
    made = lines(2)
    made.join("a", 10, 1)
    place = made.join("b", 10, 1)
    with pytest.raises(RateLimited, match="queue is full") as told:
        made.join("a", 10, 7)
    assert told.value.retry_after == 7
    made.leave("b", place)
    made.join("a", 10, 1)


def test_who_has_waited_too_long_is_told():
    made = lines()
    early, late = made.join("m", 10, 1), made.join("m", 11, 1)
    made.expire(10)
    assert (early.expired, late.expired) == (True, False)
    assert woken(early)
    assert not woken(late)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.integers(0, 9))))
def test_nothing_is_left_of_those_who_left(steps: list[tuple[str, bool, int]]):
    made, waiting = lines(5), []
    for model, joins, at in steps:
        if joins and len(waiting) < 5:
            waiting.append((model, made.join(model, 10, 1)))
        elif not joins and waiting:
            made.leave(*waiting.pop(at % len(waiting)))
        assert made.waiting == len(waiting) == sum(made.lengths().values())
        for model in "abc":
            own = [place for m, place in waiting if m == model]
            assert made.occupied(model) is bool(own)
            assert not own or made.first(model, own[0])
    for model, place in waiting:
        made.leave(model, place)
    assert made.lengths() == {}


# Admission: what a request does when all are busy. `stay` is told before each wait, and moves the world meanwhile.


def limited(name: str = "a", *models: str, most: object = 1, **more: object) -> Target:
    return target(name, *(models or ("m",)), metadata={"max_concurrency": most}, **more)


def never(place: Waiter) -> None:
    raise AssertionError("it waits")


def once(work: Callable[[], object]) -> Callable[[Waiter], None]:
    """Does it before the first wait; what waits for more than that hangs no test."""
    done: list[int] = []

    def stay(place: Waiter) -> None:
        done.append(1)
        assert len(done) < 9, "it waits for ever"
        if len(done) == 1:
            work()

    return stay


def taken(made: RouterState, *asked: RoutingRequest) -> list[str]:
    """Who gets these requests, one after the other, none of which ends."""
    names = []
    for ask in asked:
        found = made.admit(ask, never)
        made.begin(found)
        names.append(found.name)
    return names


def test_no_more_than_an_instance_may_have():
    made = state(limited("a", most=2), limited("b", most=3))
    assert sorted(taken(made, *[M] * 5)) == ["a", "a", "b", "b", "b"]
    assert made.pick(M) is None
    assert made.pick(ANY) is None


@pytest.mark.parametrize("most", [0, -1, True, "2", None, 1.5, [1]])
def test_what_is_no_limit_limits_nothing(most: object):
    assert taken(state(limited(most=most)), *[M] * 50) == ["a"] * 50


@pytest.mark.parametrize(
    "policy", ["auto", "round_robin", "least_requests", "power_of_two", "session", "prefix", "random"]
)
def test_no_policy_exceeds_a_limit(policy: str):
    instances = limited("a"), limited("b", most=2), target("c", "m", weight=0)
    made = state(*instances, policy=policy)
    for n in range(40):
        ask = RoutingRequest("m", session=b"s%d" % n, body=b'{"messages": "%d"}' % n)
        found = made.admit(ask, never)
        made.begin(found)
        assert made.loads.get("a", 0) <= 1
        assert made.loads.get("b", 0) <= 2


def test_a_cache_type_that_is_full_spills_to_the_other():
    paged = target("a", "m", metadata={"max_concurrency": 1, "cache_type": "paged"})
    static = target("b", "m", metadata={"max_concurrency": 1, "cache_type": "static"})
    made = state(paged, static)
    assert taken(made, M, M) == ["a", "b"]
    assert made.pick(M) is None


def test_who_waits_is_served_when_one_is_free():
    made = state(limited())
    taken(made, M)
    found = made.admit(M, once(lambda: made.observe(limited(), 1.0, failed=False)))
    assert found.name == "a"
    assert made.lines.waiting == 0


def test_a_newcomer_does_not_pass_those_who_wait():
    made = state(limited())
    taken(made, M)
    before = made.lines.join("m", made.now + 9, 1)
    made.observe(limited(), 1.0, failed=False)  # free, and somebody else's
    with pytest.raises(RateLimited):
        made.admit(M, once(lambda: made.lines.expire(made.now + 99)))
    assert made.lines.first("m", before)


def test_too_long_a_wait_for_a_busy_instance_is_429():
    made = state(limited(), queue_timeout=5)
    taken(made, M)
    with pytest.raises(RateLimited, match="none was free within 5 s"):
        made.admit(M, once(lambda: made.lines.expire(made.now + 5)))
    assert made.lines.waiting == 0


@pytest.mark.parametrize("status", ["starting", "draining", "stopping"])
def test_a_model_on_its_way_back_is_waited_for(status: str):
    made = state(target("a", "m", status=status), target("b", "other"))
    found = made.admit(M, once(lambda: made.replace([target("a", "m"), target("b", "other")])))
    assert found.name == "a"
    made.replace([target("a", "m", status=status)])
    with pytest.raises(Unavailable, match="for model 'm'"):
        made.admit(M, once(lambda: made.lines.expire(made.now + 99)))


@pytest.mark.parametrize("told", [{"status": "failed"}, {"status": "stopped"}, {"status": "starting", "drained": True}])
def test_a_model_that_will_not_be_back_is_not(told: dict[str, object]):
    with pytest.raises(Unavailable, match="for model 'm'"):
        state(target("a", "m", **told)).admit(M, never)
    with pytest.raises(Unavailable, match="for model 'unknown'"):
        state(target("a", "m")).admit(RoutingRequest("unknown"), never)


def test_who_waits_for_what_is_deleted_is_told_at_once():
    made = state(target("a", "m", status="starting"))
    with pytest.raises(Unavailable):
        made.admit(M, once(lambda: made.replace([])))
    assert made.lines.waiting == 0


def test_whoever_gives_up_leaves_the_line():
    class Gone(Exception):
        pass

    def leave() -> None:
        raise Gone

    made = state(limited())
    taken(made, M)
    with pytest.raises(Gone):
        made.admit(M, once(leave))
    assert made.lines.lengths() == {}


def test_when_to_come_again_is_what_a_request_takes_in_whole_seconds():
    made = state(limited())
    assert made.retry_after() == 1
    for seconds, told in ((0.01, 1), (9.0, 5), (1000.0, 60)):
        made.begin(limited())
        made.observe(limited(), seconds, failed=False)
        assert made.retry_after() == told
        assert type(made.retry_after()) is int


@pytest.mark.parametrize(("load", "budget", "most"), [(0, 0.2, 3), (10, 0.2, 3), (50, 0.2, 10), (50, 0.0, 3)])
def test_second_attempts_are_a_share_of_the_load_and_at_least_three(load: int, budget: float, most: int):
    made = state(target("a", "m"), retry_budget=budget, clock=Clock())
    made.in_flight, retries = load, 0
    while made.may_retry():
        made.retrying += 1
        retries += 1
    assert retries == most
