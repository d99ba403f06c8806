"""The expected work of instances, and what the loads of their engines mean for the choice of one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svc.protocol.instance_load import InstanceLoad
from svc.router.balance.work import (
    DEFAULT_COMPLETION_TOKENS,
    DEFAULT_REQUEST_TOKENS,
    EMPTY_VIEW,
    MAX_ESTIMATED_TOKENS,
    MAX_MODELS,
    EngineView,
    Work,
    engine_view,
    max_tokens,
)

BODY = b'{"model":"m","messages":[],"max_tokens":10}'


def load(running=0, waiting=0, kv_cache=None):
    return InstanceLoad(running=running, waiting=waiting, kv_cache=kv_cache)


def view(loads, own=None, pools=None):
    return engine_view(loads, own or {}, [list(loads)] if pools is None else pools, 0.95, 4.0)


def test_requests_of_others_are_those_that_this_router_has_not_sent():
    loads = {"a": load(running=5, waiting=2), "b": load(running=1), "c": load()}
    assert view(loads, {"a": 3, "b": 4}).foreign == {"a": 4, "b": 0, "c": 0}


@pytest.mark.parametrize(
    ("loads", "crowded"),
    [
        ({"a": load(kv_cache=0.96), "b": load(kv_cache=0.95)}, {"a"}),
        ({"a": load(kv_cache=None), "b": load(kv_cache=1.0)}, {"b"}),
        ({"a": load(waiting=5), "b": load(waiting=0)}, {"a"}),
        ({"a": load(waiting=4), "b": load(waiting=0)}, set()),
        ({"a": load(waiting=40), "b": load(waiting=10)}, set()),
        ({"a": load(waiting=41), "b": load(waiting=10)}, {"a"}),
        ({"a": load(waiting=90), "b": load(waiting=30), "c": load(waiting=0)}, {"a"}),
        ({"a": load(waiting=90)}, set()),
    ],
)
def test_a_full_cache_and_a_long_queue_crowd_an_instance(loads, crowded):
    assert view(loads).crowded == crowded


def test_a_queue_is_compared_with_instances_of_the_same_model():
    loads = {"a": load(waiting=20), "b": load(waiting=20), "c": load(), "d": load()}
    assert view(loads, pools=[["a", "b"], ["c", "d"]]).crowded == set()
    assert view(loads, pools=[["a", "b"], ["a", "c", "d"]]).crowded == {"a"}


def test_work_is_tracked_only_while_a_policy_uses_it():
    always, on_demand = Work(always_tracked=True), Work()
    assert (always.is_tracked, on_demand.is_tracked) == (True, False)
    on_demand.use_view(EngineView({"a": 0}))
    assert on_demand.is_tracked
    on_demand.use_view(EMPTY_VIEW)
    assert not on_demand.is_tracked


def test_an_attempt_counts_its_prompt_and_the_tokens_to_come():
    work = Work()
    first = work.begin("a", "m", b"x" * 400)
    second = work.begin("a", "m", BODY)
    assert work.tokens == {"a": 100 + int(DEFAULT_COMPLETION_TOKENS) + len(BODY) // 4 + 10}
    first.progress(0)
    first.progress(56)
    second.progress(4)
    assert work.tokens == {"a": 200 + 6}
    second.progress(1)
    assert work.tokens == {"a": 200 + 6}, "progress does not go back"
    first.progress(10_000)
    second.end()
    second.end()
    assert work.tokens == {}


def test_the_usage_of_responses_tunes_the_estimates_of_their_model():
    work = Work()
    for _ in range(100):
        attempt = work.begin("a", "chinese", b"x" * 1500)
        attempt.end()
        attempt.learn(prompt_tokens=1000, completion_tokens=50)
    work.begin("a", "chinese", b"x" * 3000)
    assert 2000 <= work.tokens["a"] <= 2100
    work.begin("b", "other", b"x" * 3000)
    assert work.tokens["b"] == 750 + int(DEFAULT_COMPLETION_TOKENS)


def test_the_requests_of_others_count_as_usual_requests():
    work = Work()
    work.use_view(EngineView({"a": 3, "b": 1}))
    assert work.foreign_tokens == {"a": 3 * DEFAULT_REQUEST_TOKENS, "b": DEFAULT_REQUEST_TOKENS}
    assert work.default_foreign_tokens == 2 * DEFAULT_REQUEST_TOKENS


def test_models_do_not_fill_the_memory():
    work = Work()
    for number in range(3 * MAX_MODELS):
        work.begin("a", f"m{number}", b"").end()
    assert len(work._models) <= MAX_MODELS
    assert work.tokens == {}


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 5000), st.integers(0, 3000)), max_size=30))
def test_the_work_of_all_attempts_ends_at_nothing(attempts):
    work = Work()
    begun = [(work.begin(name, "m", b"x" * size), generated) for name, size, generated in attempts]
    for attempt, generated in begun:
        attempt.progress(generated)
        assert all(tokens > 0 for tokens in work.tokens.values())
    for attempt, generated in begun:
        attempt.end()
        attempt.learn(generated, generated)
    assert work.tokens == {}


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        (b'{"max_tokens":5}', 5),
        (b'{"max_tokens" : 5 }', 5),
        (b'{"max_completion_tokens":7,"messages":[]}', 7),
        (b'{"input":"x","max_output_tokens":\n8}', 8),
        (b'{"max_new_tokens":9}', 9),
        (b'{"messages":"' + b"x" * 100_000 + b'","max_tokens":5}', 5),
        (b'{"max_tokens":5,"messages":"' + b"x" * 100_000 + b'"}', 5),
        (b'{"a":"' + b"x" * 2040 + b'","max_tokens":5}', 5),
        (b'{"a":"' + b"x" * 5000 + b'","max_tokens":5,"b":"' + b"x" * 5000 + b'"}', None),
        (b'{"prompt_tokens":1,"max_tokens":5}', 5),
        (b'{"max_tokens":null}', None),
        (b'{"max_tokens":-5}', None),
        (b'{"max_tokens":"5"}', None),
        (b'{"content":"\\"max_tokens\\":5"}', None),
        (b'_tokens":5', None),
        (b"", None),
    ],
)
def test_the_limit_of_a_body_is_found(body, tokens):
    assert max_tokens(body) == tokens


def test_usage_that_no_engine_can_have_keeps_estimates_in_bounds():
    work = Work(always_tracked=True)
    for _ in range(20_000):
        work.begin("a", "m", b"").learn(10**12, 10**12)
    attempt = work.begin("b", "m", b"x" * (64 << 20))
    assert work.of("b") <= 2 * MAX_ESTIMATED_TOKENS
    attempt.end()
    assert work.of("b") == 0
