from collections import Counter
from collections.abc import Callable

import pytest

from svc.base.errors import RateLimited, Unavailable
from svc.router.balance.balancer import Balancer
from svc.router.balance.conversation import block_hashes, conversation_of
from svc.router.balance.queued_requests import choose_or_wait
from svc.router.balance.request_queue import Waiter
from svc.router.balance.routing_request import RoutingRequest
from svc.router.balance.target import Target
from svc.router.state import RouterState
from tests.unit.router.examples import Clock, state, target

M, ANY = RoutingRequest("m"), RoutingRequest()
A, B = target("a", "m"), target("b", "m")


def test_pick_returns_a_candidate_or_raises():
    router = state(target("a", "m"), target("b", "m", status="draining"))
    assert router.balancer.pick(M).name == "a"
    assert router.balancer.pick(RoutingRequest()).name == "a"
    assert router.balancer.pick(M, ("a",)) is None
    with pytest.raises(Unavailable, match=r"^No healthy services available for model 'x'$"):
        router.balancer.pick(RoutingRequest("x"))
    with pytest.raises(Unavailable, match=r"^No healthy services available$"):
        state().balancer.pick(RoutingRequest())


def test_turns_continue_when_the_table_is_replaced():
    router = state(target("a", "m"), target("b", "m"))
    counts = Counter()
    for _ in range(10):
        counts[router.balancer.pick(M).name] += 1
        router.replace_targets(router.balancer.table.targets)
    assert counts == {"a": 5, "b": 5}


def test_counts_are_kept_while_an_instance_is_away():
    router = state(target("a", "m"))
    router.balancer.begin_attempt(A)
    router.replace_targets([])
    assert router.balancer.loads == {"a": 1}
    router.replace_targets([target("a", "m")])
    router.balancer.end_attempt(A, 2.0, failed=False)
    router.balancer.begin_attempt(A)
    router.balancer.end_attempt(A, 4.0, failed=True)
    assert router.balancer.loads == {"a": 0}
    statistics = router.statistics.instances["a"]
    assert (statistics.requests, statistics.errors, statistics.mean_seconds()) == (2, 1, 3.0)


def test_no_counts_are_kept_of_instances_that_have_left():
    router = state()
    for n in range(50):
        instance = target(f"i{n}", f"m{n}", metadata={"cache_type": "paged"})
        router.replace_targets([instance, target(f"checked{n}")])
        router.balancer.begin_attempt(instance, counts_for_budget=True)
        router.balancer.pick(RoutingRequest(f"m{n}"))
        router.balancer.pick(RoutingRequest())
        router.balancer.end_attempt(
            instance, 1.0, failed=True, ejection_reason="Connection refused", counts_for_budget=True
        )
        router.balancer.record_check(f"checked{n}", passed=False)
    router.replace_targets([])
    assert (router.balancer.loads, router.statistics.instances, router.health.by_instance) == ({}, {}, {})
    assert len(router.balancer._turns) <= 2  # noqa: SLF001 - those of all models together
    assert router.balancer.table.by_model == {}


def fail(router: RouterState, times: int = 1) -> None:
    for _ in range(times):
        router.balancer.begin_attempt(A)
        router.balancer.end_attempt(A, 0, failed=True, ejection_reason="Connection refused")


def test_three_failures_in_a_row_eject_an_instance():
    router = state(A, B, max_errors=3)
    fail(router, 2)
    router.balancer.begin_attempt(A)
    router.balancer.end_attempt(A, 0, failed=False)  # an answer ends the row of failures
    fail(router, 2)
    assert router.balancer.table.candidates == {"a", "b"}
    fail(router)
    assert router.balancer.table.candidates == {"b"}
    router.balancer.begin_attempt(A)
    router.balancer.end_attempt(A, 0, failed=False)  # of a request from before the ejection
    assert router.balancer.table.candidates == {"b"}


def test_one_trial_request_ends_an_ejection():
    clock = Clock()
    router = state(A, B, clock=clock, max_errors=1)
    fail(router)
    router.now = clock.now = clock.now + 10
    router.sweep()
    assert router.balancer.table.candidates == {"a", "b"}
    router.balancer.begin_attempt(A)
    assert router.balancer.table.candidates == {"b"}, "one trial at a time"
    router.balancer.end_attempt(A, 0, failed=False)
    assert router.balancer.table.candidates == {"a", "b"}


def test_a_trial_whose_client_left_is_repeated():
    clock = Clock()
    router = state(A, B, clock=clock, max_errors=1)
    fail(router)
    router.now = clock.now = clock.now + 10
    router.sweep()
    router.balancer.begin_attempt(A)
    router.balancer.end_attempt(A, 0, failed=False, ejection_reason=None)
    assert router.balancer.table.candidates == {"a", "b"}


def test_errors_without_a_reason_do_not_eject():
    router = state(target("a", "m"), max_errors=1)
    for _ in range(9):
        router.balancer.begin_attempt(A)
        router.balancer.end_attempt(A, 0, failed=True)
    assert router.balancer.table.candidates == {"a"}


def test_the_routers_check_outweighs_the_registrys():
    router = state(target("a", "m", healthy=False), target("b", "m", healthy=True), max_errors=1)
    assert router.balancer.table.candidates == {"b"}
    router.balancer.record_check("a", passed=True)
    router.balancer.record_check("b", passed=False)
    assert router.balancer.table.candidates == {"a"}
    router.replace_targets(router.balancer.table.targets)
    assert router.balancer.table.candidates == {"a"}


def test_a_first_check_that_confirms_the_table_does_not_replace_it():
    router = state(A, target("b", "m", healthy=False))
    table = router.balancer.table
    router.balancer.record_check("a", passed=True)
    assert router.balancer.table is table, "a new table for each check costs a large one minutes at the start"
    router.balancer.record_check("b", passed=True)
    assert router.balancer.table.candidates == {"a", "b"}


def test_failed_checks_in_a_row_exclude_until_two_pass():
    router = state(A, max_errors=3)
    for passed in (True, False, False, True, False, False):
        router.balancer.record_check("a", passed)
    assert router.balancer.table.candidates == {"a"}
    router.balancer.record_check("a", passed=False)
    assert not router.balancer.table.candidates
    router.balancer.record_check("a", passed=True)
    assert not router.balancer.table.candidates
    router.balancer.record_check("a", passed=True)
    assert router.balancer.table.candidates == {"a"}


def test_unhealthy_instances_are_tried_where_there_are_no_others():
    router = state(A, max_errors=1)
    router.balancer.record_check("a", passed=False)
    assert router.balancer.pick(M) == A


@pytest.mark.parametrize("changes", [{"url": "http://other:1"}, {"status": "running"}])
def test_the_health_of_a_restarted_instance_begins_anew(changes: dict[str, str]):
    router = state(target("a", "m"), max_errors=1)
    router.balancer.record_check("a", passed=False)
    router.replace_targets([target("a", "m")])
    assert not router.balancer.table.candidates
    router.replace_targets([target("a", "m", status="starting")])
    router.replace_targets([target("a", "m", **changes)])
    assert router.balancer.table.candidates == {"a"}


@pytest.mark.parametrize(
    ("before", "after", "returning"),
    [
        ({}, {}, False),
        ({"healthy": False}, {"healthy": True}, False),  # the registry's checks are not the router's
        ({"drained": True}, {}, False),
        ({"lease_valid": False}, {}, True),
        ({"registered": "1"}, {"registered": "2"}, True),
        ({"status": "starting"}, {}, True),
        ({}, {"url": "http://elsewhere:1"}, True),
    ],
)
def test_only_a_returning_instance_begins_anew(before, after, returning):
    router = state(target("a", "m", **before))
    for _ in range(3):
        router.balancer.record_check("a", passed=False)
    assert not router.balancer.table.candidates
    router.replace_targets([target("a", "m", **after)])
    assert router.balancer.table.candidates == ({"a"} if returning else set())


def test_a_first_check_may_decide_alone():
    router = state(target("a", "m"), target("b", "m"), max_errors=3)
    router.balancer.record_check("a", passed=False)
    router.balancer.record_check("b", passed=False, first_decides=True)
    assert router.balancer.table.candidates == {"a"}
    router.balancer.record_check("b", passed=True, first_decides=True)
    router.balancer.record_check("b", passed=True, first_decides=True)
    assert router.balancer.table.candidates == {"a", "b"}
    router.balancer.record_check("b", passed=False, first_decides=True)
    assert router.balancer.table.candidates == {"a", "b"}


# Waiting for an instance. `on_wait` is called before each wait; in these tests it changes what the request waits for.


def limited(name: str = "a", *models: str, limit: object = 1, **changes: object) -> Target:
    return target(name, *(models or ("m",)), metadata={"max_concurrency": limit}, **changes)


def never(waiter: Waiter) -> None:
    raise AssertionError("it waits")


def once(work: Callable[[], object]) -> Callable[[Waiter], None]:
    """Return a function for `on_wait` that does the work at the first wait, and ends a test that waits for ever."""
    calls: list[int] = []

    def on_wait(waiter: Waiter) -> None:
        calls.append(1)
        assert len(calls) < 9, "it waits for ever"
        if len(calls) == 1:
            work()

    return on_wait


def taken(balancer: Balancer, *requests: RoutingRequest) -> list[str]:
    """Return the instances of these requests, none of which ends."""
    names = []
    for request in requests:
        instance = choose_or_wait(balancer, request, never)
        balancer.begin_attempt(instance)
        names.append(instance.name)
    return names


def test_an_instance_gets_no_more_requests_than_its_limit():
    router = state(limited("a", limit=2), limited("b", limit=3))
    assert sorted(taken(router.balancer, *[M] * 5)) == ["a", "a", "b", "b", "b"]
    assert router.balancer.pick(M) is None
    assert router.balancer.pick(ANY) is None


@pytest.mark.parametrize("limit", [0, -1, True, "2", None, 1.5, [1]])
def test_an_invalid_limit_is_no_limit(limit: object):
    assert taken(state(limited(limit=limit)).balancer, *[M] * 50) == ["a"] * 50


@pytest.mark.parametrize(
    "policy", ["auto", "round_robin", "least_requests", "power_of_two", "session", "prefix", "random"]
)
def test_no_policy_exceeds_a_limit(policy: str):
    instances = limited("a"), limited("b", limit=2), target("c", "m", weight=0)
    router = state(*instances, policy=policy)
    for n in range(40):
        request = RoutingRequest("m", session=b"s%d" % n, body=b'{"messages": "%d"}' % n)
        instance = choose_or_wait(router.balancer, request, never)
        router.balancer.begin_attempt(instance)
        assert router.balancer.loads.get("a", 0) <= 1
        assert router.balancer.loads.get("b", 0) <= 2


def test_a_full_cache_type_spills_to_the_other():
    paged = target("a", "m", metadata={"max_concurrency": 1, "cache_type": "paged"})
    static = target("b", "m", metadata={"max_concurrency": 1, "cache_type": "static"})
    router = state(paged, static)
    assert taken(router.balancer, M, M) == ["a", "b"]
    assert router.balancer.pick(M) is None


def test_a_waiting_request_is_served_when_an_instance_is_free():
    router = state(limited())
    taken(router.balancer, M)
    instance = choose_or_wait(
        router.balancer, M, once(lambda: router.balancer.end_attempt(limited(), 1.0, failed=False))
    )
    assert instance.name == "a"
    assert router.balancer.queue.waiting == 0


def test_a_new_request_does_not_pass_those_that_wait():
    router = state(limited())
    taken(router.balancer, M)
    before = router.balancer.queue.join("m", router.now + 9, 1)
    router.balancer.end_attempt(limited(), 1.0, failed=False)  # free, but another request is first
    with pytest.raises(RateLimited):
        choose_or_wait(router.balancer, M, once(lambda: router.balancer.queue.expire(router.now + 99)))
    assert router.balancer.queue.is_first("m", before)


def test_waiting_too_long_for_a_busy_instance_is_429():
    router = state(limited(), queue_timeout=5)
    taken(router.balancer, M)
    with pytest.raises(RateLimited, match="none was free within 5 s"):
        choose_or_wait(router.balancer, M, once(lambda: router.balancer.queue.expire(router.now + 5)))
    assert router.balancer.queue.waiting == 0


@pytest.mark.parametrize("status", ["starting", "draining", "stopping"])
def test_a_request_waits_for_a_model_that_is_about_to_return(status: str):
    router = state(target("a", "m", status=status), target("b", "other"))
    instance = choose_or_wait(
        router.balancer, M, once(lambda: router.replace_targets([target("a", "m"), target("b", "other")]))
    )
    assert instance.name == "a"
    router.replace_targets([target("a", "m", status=status)])
    with pytest.raises(Unavailable, match="for model 'm'"):
        choose_or_wait(router.balancer, M, once(lambda: router.balancer.queue.expire(router.now + 99)))


@pytest.mark.parametrize(
    "changes", [{"status": "failed"}, {"status": "stopped"}, {"status": "starting", "drained": True}]
)
def test_a_request_does_not_wait_for_a_model_that_will_not_return(changes: dict[str, object]):
    with pytest.raises(Unavailable, match="for model 'm'"):
        choose_or_wait(state(target("a", "m", **changes)).balancer, M, never)
    with pytest.raises(Unavailable, match="for model 'unknown'"):
        choose_or_wait(state(target("a", "m")).balancer, RoutingRequest("unknown"), never)


def test_the_wait_ends_at_once_when_the_model_is_deleted():
    router = state(target("a", "m", status="starting"))
    with pytest.raises(Unavailable):
        choose_or_wait(router.balancer, M, once(lambda: router.replace_targets([])))
    assert router.balancer.queue.waiting == 0


def test_a_request_that_gives_up_leaves_the_queue():
    class Gone(Exception):
        pass

    def leave() -> None:
        raise Gone

    router = state(limited())
    taken(router.balancer, M)
    with pytest.raises(Gone):
        choose_or_wait(router.balancer, M, once(leave))
    assert router.balancer.queue.lengths() == {}


def test_retry_after_is_the_mean_duration_in_whole_seconds():
    router = state(limited())
    assert router.statistics.retry_after() == 1
    for seconds, retry_after in ((0.01, 1), (9.0, 5), (1000.0, 60)):
        router.balancer.begin_attempt(limited())
        router.balancer.end_attempt(limited(), seconds, failed=False)
        assert router.statistics.retry_after() == retry_after
        assert type(router.statistics.retry_after()) is int


@pytest.mark.parametrize(("load", "budget", "limit"), [(0, 0.2, 3), (10, 0.2, 3), (50, 0.2, 10), (50, 0.0, 3)])
def test_retries_are_a_share_of_the_load_and_at_least_three(load: int, budget: float, limit: int):
    router = state(target("a", "m"), retry_budget=budget, clock=Clock())
    router.balancer.in_flight, retries = load, 0
    while router.balancer.may_retry():
        router.balancer.retrying += 1
        retries += 1
    assert retries == limit


# Instances that refused the connection.


def test_prefix_forgets_what_an_instance_that_restarted_or_left_was_sent():
    def request(number: int) -> RoutingRequest:
        return RoutingRequest("m", body=b'{"prompt": "%b"}' % (b"%d " % number * 900))

    def sent_to(number: int) -> dict[str, int]:
        """Each instance that was sent the conversation, with the length of what it was sent."""
        prefixes, pool = router.balancer.prefixes, router.balancer.table.pool("m")
        matches = prefixes.find(block_hashes(conversation_of(request(number)), pool.seed))
        return {name: length for length, bits in matches for name, bit in prefixes.bits.items() if bit & bits}

    router = state(A, B, policy="prefix")
    chosen = {number: router.balancer.pick(request(number)).name for number in range(1000, 1040)}
    assert set(chosen.values()) == {"a", "b"}
    router.replace_targets([A, B, target("c", "m")])
    router.balancer.record_check("a", passed=False, first_decides=True)
    assert all(sent_to(number) == {name: 8} for number, name in chosen.items())
    router.replace_targets([target("a", "m", status="starting"), B])
    router.replace_targets([A, B])
    assert all(sent_to(number) == ({"b": 8} if name == "b" else {}) for number, name in chosen.items())
    router.replace_targets([A])
    assert all(sent_to(number) == {} for number in chosen)
    assert not router.balancer.prefixes.bits


def test_a_policy_that_needs_no_prefixes_stores_none():
    router = state(A, B, policy="session")
    router.balancer.pick(RoutingRequest("m", b"s", b'{"prompt": "%b"}' % (b"x" * 9000)))
    assert len(router.balancer.prefixes) == 0
