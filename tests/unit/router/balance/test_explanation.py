"""The explanation of a choice: it names the instance that the next request gets, and changes nothing."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svc.router.balance.explanation import InstanceChoice, explain
from svc.router.balance.policies import POLICIES
from svc.router.balance.queued_requests import choose_or_wait
from svc.router.balance.request_queue import Waiter
from svc.router.balance.routing_request import RoutingRequest
from svc.router.balance.target import Target
from svc.router.balance.wakes import WakeState
from svc.router.balance.work import EngineView
from svc.router.state import RouterState
from svc.router.workers.shared_counts import SharedCounts
from tests.unit.router.examples import state, target
from tests.unit.router.workers.examples import RelayingProcess

DETERMINISTIC = [name for name in POLICIES if name not in ("random", "power_of_two")]
M = RoutingRequest("m")


def never(waiter: Waiter) -> None:
    raise AssertionError("it waits")


def explained(router: RouterState, request: RoutingRequest = M) -> InstanceChoice:
    return explain(router.balancer, router.settings, request)


@pytest.fixture
def counts() -> Iterator[SharedCounts]:
    made = SharedCounts(3)
    yield made
    made.close()


def excluded(choice: InstanceChoice) -> dict[str, str]:
    return {candidate.name: candidate.excluded for candidate in choice.candidates if candidate.excluded}


def instance(name: str, **fields: Any) -> Target:
    metadata = {key: fields.pop(key) for key in ("max_concurrency", "cache_type") if key in fields}
    return target(name, "m", metadata=metadata, **fields)


instances = st.lists(
    st.fixed_dictionaries(
        {
            "weight": st.integers(0, 3),
            "max_concurrency": st.integers(0, 3),
            "cache_type": st.sampled_from(["", "static", "paged"]),
            "drained": st.booleans(),
            "healthy": st.sampled_from([None, True, False]),
        }
    ),
    min_size=1,
    max_size=5,
)
requests = st.builds(
    RoutingRequest,
    model=st.sampled_from([None, "m"]),
    session=st.sampled_from([b"", b"s1", b"s2"]),
    body=st.sampled_from([b"", b'{"prompt": "x"}', json.dumps({"prompt": "y" * 300}).encode()]),
)


@given(instances, st.lists(requests, min_size=1, max_size=12), st.sampled_from(DETERMINISTIC))
def test_it_names_the_instance_that_the_next_request_gets(
    fields: list[dict], sequence: list[RoutingRequest], policy: str
):
    targets = [instance(f"i{number}", **each) for number, each in enumerate(fields)]
    router = state(*targets, policy=policy, cache_type_threshold=100)
    for request in sequence:
        choice = explained(router, request)
        again = explained(router, request)
        chosen = None
        if any(target.accepts_requests() for target in targets):
            chosen = router.balancer.pick(request)
        if not router.balancer.full:  # else round robin draws among the others
            assert again == choice
            assert choice.instance == (chosen.name if chosen else None)
        assert (choice.instance is None) == (chosen is None)
        if chosen is not None:
            assert choice.why
            router.balancer.begin_attempt(chosen)


@pytest.mark.parametrize("policy", DETERMINISTIC)
def test_a_process_of_several_explains_with_the_turns_of_all(policy: str, counts: SharedCounts):
    targets = (target("a", "m"), target("b", "m", weight=2), target("c", "m"))
    first, second = (RelayingProcess(counts, slot, *targets, policy=policy) for slot in (1, 2))
    for number in range(12):
        process = (first, second)[number % 2]
        choice = explain(process.balancer, process.settings, M)
        other = (second, first)[number % 2]
        assert explain(other.balancer, other.settings, M).instance == choice.instance
        chosen = choose_or_wait(process.balancer, M, never)
        assert choice.instance == chosen.name
        process.balancer.begin_attempt(chosen)


def test_it_changes_nothing():
    router = state(target("a", "m"), target("b", "m"))
    before = copy.deepcopy((dict(router.balancer.loads), router.balancer.in_flight, router.balancer.retries))
    for _ in range(5):
        explained(router)
        explained(router, RoutingRequest("unknown"))
    assert (dict(router.balancer.loads), router.balancer.in_flight, router.balancer.retries) == before
    assert not router.balancer.unlisted_model_requested
    assert router.statistics.take() is None


def test_what_excludes_an_instance():
    router = state(
        target("a", "m"),
        target("drained", "m", drained=True),
        target("expired", "m", lease_valid=False, healthy=False),
        target("full", "m", metadata={"max_concurrency": 1}),
        target("other", "n"),
        target("starting", "m", status="starting"),
        target("unhealthy", "m", healthy=False),
    )
    router.balancer.begin_attempt(next(t for t in router.balancer.table.targets if t.name == "full"))
    choice = explained(router)
    assert choice.instance == "a"
    assert excluded(choice) == {
        "drained": "it is drained",
        "expired": "its lease has expired",
        "full": "it is full: 1 requests in flight",
        "starting": "it is starting",
        "unhealthy": "it fails its health checks",
    }
    assert "other" not in {candidate.name for candidate in choice.candidates}


def test_an_ejected_instance_is_excluded():
    router = state(target("a", "m"), target("b", "m"))
    for _ in range(9):
        router.balancer.begin_attempt(router.balancer.table.targets[1])
        router.balancer.end_attempt(router.balancer.table.targets[1], 0.1, True, "it failed")
    assert excluded(explained(router)) == {"b": "it is ejected, or fails its health checks"}


def test_reasons_of_a_session():
    router = state(target("a", "m"), target("b", "m"), target("c", "m"), policy="session")
    request = RoutingRequest("m", session=b"s1")
    (order,) = explained(router, request).why
    preferred = order.rpartition("order ")[2].split(", ")
    assert sorted(preferred) == ["a", "b", "c"]
    assert explained(router, request).instance == preferred[0]
    first = next(t for t in router.balancer.table.targets if t.name == preferred[0])
    for _ in range(4):
        router.balancer.begin_attempt(first)
    choice = explained(router, request)
    assert choice.instance == preferred[1]
    assert choice.why == (
        order,
        f"{preferred[0]} is skipped: it has 4 requests in flight, 1.25 times its share or more",
    )


def test_reasons_of_the_cache_type():
    router = state(instance("p", cache_type="paged"), instance("s", cache_type="static"), cache_type_threshold=100)
    large = RoutingRequest("m", body=json.dumps({"prompt": "x" * 200}).encode())
    assert explained(router, large).why[0] == "the text of the prompt has over 100 bytes: cache type static"
    assert explained(router).why[0] == "the text of the prompt has at most 100 bytes: cache type paged"
    only = state(instance("p", cache_type="paged"), cache_type_threshold=100)
    assert explained(only, large).why[1] == "no instance of cache type static can take it: any instance"


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_has_reasons(policy: str):
    choice = explained(state(target("a", "m"), target("b", "m"), policies=(("m", policy),)))
    assert choice.policy == policy
    assert choice.instance in ("a", "b")
    assert choice.why


def test_requests_that_would_wait():
    full = state(target("a", "m", metadata={"max_concurrency": 1}))
    full.balancer.begin_attempt(full.balancer.table.targets[0])
    queued = state(target("a", "m"))
    queued.balancer.queue.join("m", 1e9, 1)
    returning = state(target("a", "m", status="starting"))
    for router in (full, queued, returning):
        choice = explained(router)
        assert (choice.instance, choice.waits) == (None, True)
    unknown = explained(returning, RoutingRequest("x"))
    assert (unknown.instance, unknown.waits, unknown.why) == (None, False, ("no instance lists the model",))


def test_the_prefixes_that_decide_are_named():
    router = state(target("a", "m"), target("b", "m"), policy="prefix")
    chat = [RoutingRequest("m", body=b'{"prompt": "%b"}' % (b"word " * words)) for words in (1000, 2000, 4000)]
    other = RoutingRequest("m", body=b'{"prompt": "%b"}' % (b"else " * 1000))
    assert explained(router, chat[0]).why[0] == "no instance was sent a prefix of this conversation"
    assert not router.balancer.prefixes.bits, "the explanation adds nothing"
    own = router.balancer.pick(chat[0]).name
    choice = explained(router, chat[1])
    assert choice.instance == own
    assert choice.why == (
        "the conversation has 10001 bytes, about 2500 tokens",
        f"{own} was sent the first 4096 bytes, about 1024 tokens",
    )
    for _ in range(40):
        router.balancer.begin_attempt(target(own, "m"))
    choice = explained(router, chat[1])
    assert choice.instance != own
    assert choice.why[-2:] == (
        f"{own} is skipped: its 40 requests in flight are too far above its share",
        f"{choice.instance} is the least loaded of all instances",
    )
    assert router.balancer.pick(chat[1]).name == choice.instance
    assert explained(router, chat[2]).why[1].startswith(f"{choice.instance} was sent the first 8192 bytes")
    assert "no instance was sent" in explained(router, other).why[0]
    short = explained(router, RoutingRequest("m", body=b'{"prompt": "hi"}')).why[0]
    assert short.endswith("prefixes are known from 512 bytes on")
    for body in (b"{}", b'{"input": "hi"}'):
        why = explained(router, RoutingRequest("m", body=body)).why[0]
        assert why == "the request has no messages, no prompt and no list of input items"


def test_the_loads_of_engines_are_explained():
    router = state(target("a", "m"), target("b", "m"), target("c", "m"))
    router.balancer.work.use_view(EngineView({"a": 0, "b": 2, "c": 1}, frozenset("a")))
    choice = explained(router)
    assert choice.instance == "c" == router.balancer.pick(M).name
    assert choice.why == (
        "a is left out: its KV cache is nearly full, or its queue is far longer than its peers'",
        "the request has no session",
        "c has the least expected work for its weight, 512 tokens; equal instances take turns",
    )
    choice = explained(router, RoutingRequest("m", b"s"))
    assert choice.instance == router.balancer.pick(RoutingRequest("m", b"s")).name
    assert set(choice.why[1].partition("order ")[2].split(", ")) == {"b", "c"}


def test_the_expected_work_of_each_candidate_while_a_policy_uses_it():
    router = state(target("a", "m"), target("b", "m"), policy="least_load")
    router.balancer.work.add("a", 300)
    choice = explained(router)
    assert {candidate.name: candidate.work for candidate in choice.candidates} == {"a": 300, "b": 0}
    assert choice.instance == "b"
    assert {candidate.work for candidate in explained(state(target("a", "m"))).candidates} == {None}


def test_auto_names_the_prefix_or_the_session():
    router = state(target("a", "m"), target("b", "m"), auto_prefix=True)
    chat = RoutingRequest("m", b"s", b'{"prompt": "%b"}' % (b"word " * 1000))
    choice = explained(router, chat)
    assert choice.why[0] == "no instance was sent a prefix of this conversation"
    assert choice.why[1].startswith(f"its beginning prefers the instances in the order {choice.instance}, ")
    assert router.balancer.pick(chat).name == choice.instance
    assert explained(router, chat).why[1] == f"{choice.instance} was sent the first 4096 bytes, about 1024 tokens"
    assert explained(router, RoutingRequest("m", b"s", b"{}")).why[0].startswith("the session prefers the instances")


def test_a_request_for_a_model_that_is_asleep_would_wait_for_a_wake():
    metadata = {"on_demand": True, "wake_timeout": 30}
    router = state(target("a", "m", status="asleep", metadata=metadata))
    choice = explained(router)
    assert (choice.instance, choice.waits) == (None, True)
    assert choice.why == ("its instances are asleep: one would be woken, and it would wait up to 30 s",)
    assert choice.candidates[0].excluded == "it is asleep"
    router.balancer.use_wake_states({"m": WakeState("GPU 0 is full", impossible=True)})
    assert not explained(router).waits
