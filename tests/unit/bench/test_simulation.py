"""The simulated engines of ops/bench: what they compute is possible, and every request ends."""

import dataclasses
import json
import random
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.append(str(Path(__file__).parents[3] / "ops" / "bench"))  # last, so that it hides no other module

from simulation.choosers import OMNISCIENT
from simulation.engine import Engine, EngineSettings, Job
from simulation.kv_cache import KVCache
from simulation.run import Run
from simulation.trace import Dialogue, Texts, TraceSettings, generate

from svc.router.balance.policies import POLICIES

TRACE = TraceSettings(requests=1_500, rate=24, max_turns=40)
SMALL = EngineSettings(blocks=4_000)  # so that blocks are evicted


def job(tokens: int, answer: int = 10, conversation: str = "c", arrived: float = 0.0, shared: int = 160) -> Job:
    return Job(
        prompt_tokens=tokens,
        answer_tokens=answer,
        shared=("a", shared),
        conversation=conversation,
        arrived=arrived,
    )


def finish(engine: Engine) -> list[Job]:
    """Process the engine's events until it is idle; return the jobs that have ended."""
    ended = []
    while (at := engine.next_event()) < float("inf"):
        done = engine.process_event(at)
        if done.ended is not None:
            ended.append(done)
    return ended


def replay(policy: str, trace: TraceSettings = TRACE, engine: EngineSettings = SMALL, instances: int = 10) -> Run:
    run = Run(policy, generate(trace), instances, engine, trace)
    assert list(run.tenths()) == list(range(1, 11))
    return run


@pytest.mark.parametrize("policy", [*POLICIES, OMNISCIENT])
def test_every_request_of_a_trace_gets_its_whole_answer(policy):
    run = replay(policy)
    outcome = run.outcome
    assert len(outcome.first_tokens) == sum(outcome.requests) == TRACE.requests
    assert min(outcome.first_tokens) > 0
    assert 0 < outcome.cached_tokens < outcome.prompt_tokens
    assert sum(outcome.prefilled) == outcome.prompt_tokens - outcome.cached_tokens
    for engine in run.engines:
        assert (engine.running, len(engine.waiting)) == (0, 0)
        assert engine.cache.used <= engine.cache.capacity
    assert outcome.evicted_blocks > 0


def test_the_same_seed_gives_the_same_figures_and_another_one_others():
    first, second = replay("power_of_two").outcome, replay("power_of_two").outcome
    assert dataclasses.asdict(first) == dataclasses.asdict(second)
    other = replay("power_of_two", dataclasses.replace(TRACE, seed=2)).outcome
    assert other.first_tokens != first.first_tokens


def test_sessions_find_their_prompts_in_the_cache_where_turns_in_order_do_not():
    trace = dataclasses.replace(TRACE, sessions=1.0)
    by_session, in_turn = replay("session", trace).outcome, replay("round_robin", trace).outcome
    assert by_session.cached_tokens > 1.5 * in_turn.cached_tokens
    assert by_session.prompt_tokens == in_turn.prompt_tokens


def test_two_routers_find_the_engine_of_a_session_as_one_does():
    trace = dataclasses.replace(TRACE, sessions=1.0)
    run = Run("session", generate(trace), 10, SMALL, trace, routers=2)
    assert list(run.tenths())[-1] == 10
    assert run.outcome.cached_tokens > 0.9 * replay("session", trace).outcome.cached_tokens


def test_a_running_answer_has_the_tokens_of_its_time():
    engine, request = Engine("e", EngineSettings(step_seconds=0.01, sequence_seconds=0.0)), job(100, answer=101)
    engine.submit(request, 0.0)
    assert engine.generated(request, 0.0) == 0
    first = engine.next_event()
    assert engine.process_event(first) is request
    assert [engine.generated(request, first + seconds) for seconds in (0, 0.505, 1)] == [1, 51, 101]
    assert engine.cache.held == -(-201 // 16)
    finish(engine)
    assert engine.cache.held == 0


def test_a_lone_request_takes_the_time_of_its_tokens():
    settings = EngineSettings(prefill_rate=1_000, chunk_tokens=500, step_seconds=0.01, sequence_seconds=0.001)
    engine, request = Engine("e", settings), job(1_200, answer=11)
    engine.submit(request, 0.0)
    assert finish(engine) == [request]
    assert request.first_token == pytest.approx(1.2 + 3 * 0.01)
    assert request.ended == pytest.approx(1.23 + 10 * 0.011)


def test_the_next_turn_of_a_conversation_prefills_only_what_is_new():
    engine = Engine("e", EngineSettings())
    engine.submit(job(1_000, answer=100), 0.0)
    (first,) = finish(engine)
    engine.submit(second := job(1_300, arrived=first.ended), first.ended)
    engine.submit(other := job(1_300, arrived=first.ended, conversation="d"), first.ended)
    finish(engine)
    assert first.cached_tokens == 0
    assert second.cached_tokens == 1_100 // 16 * 16
    assert other.cached_tokens == 160, "the system prompt"


def test_an_engine_runs_as_many_requests_as_it_may_and_queues_the_others():
    engine = Engine("e", EngineSettings(max_running=3))
    jobs = [job(200, conversation=str(number)) for number in range(8)]
    for request in jobs:
        engine.submit(request, 0.0)
    most = 0
    while (at := engine.next_event()) < float("inf"):
        engine.process_event(at)
        most = max(most, engine.running)
    assert most == 3
    assert [request.ended for request in jobs] == sorted(request.ended for request in jobs)


def test_requests_wait_for_room_in_the_cache():
    engine = Engine("e", EngineSettings(blocks=100))
    jobs = [job(1_000, conversation="c"), job(1_000, conversation="d")]
    for request in jobs:
        engine.submit(request, 0.0)
    assert len(finish(engine)) == 2
    assert jobs[1].first_token > jobs[0].ended


@given(st.integers(0, 1 << 32))
def test_a_cache_never_holds_more_than_its_capacity(seed):
    generator = random.Random(seed)
    cache, held = KVCache(60), []
    for _ in range(200):
        if held and generator.random() < 0.5:
            cache.release(held.pop(generator.randrange(len(held))))
        else:
            own = generator.randrange(8)
            segments = [(f"shared-{own % 2}", 5), (f"own-{own}", generator.randint(0, 30))]
            before = cache.cached_blocks(segments)
            total = sum(blocks for _, blocks in segments)
            assert before <= total
            if cache.hold(segments):
                held.append(segments)
                assert cache.cached_blocks(segments) == total
        assert 0 <= cache.used <= cache.capacity
        assert cache.used == sum(chain.blocks for chain in cache._chains.values())
        assert all(cache.cached_blocks(segments) == sum(n for _, n in segments) for segments in held), "not evicted"


def test_a_prompt_loses_its_end_first_and_the_least_recently_used_one_loses_most():
    cache = KVCache(30)
    for name in ("old", "new"):
        cache.hold([("shared", 4), (name, 10)])
        cache.release([("shared", 4), (name, 10)])
    assert cache.hold([("shared", 4), ("another", 12)])
    assert cache.cached_blocks([("shared", 4), ("old", 10)]) == 8
    assert cache.cached_blocks([("shared", 4), ("new", 10)]) == 14
    assert cache.evicted == 6


def test_a_trace_has_skewed_conversations_with_a_shared_beginning():
    trace = TraceSettings(requests=5_000)
    conversations = generate(trace)
    lengths = sorted(len(conversation.turns) for conversation in conversations)
    assert sum(lengths) == 5_000
    assert lengths[-1] > 8 * lengths[len(lengths) // 2]
    starts = [conversation.start for conversation in conversations]
    assert starts == sorted(starts)
    assert starts[-1] == pytest.approx(5_000 / trace.rate, rel=0.1)


def test_each_body_is_json_that_begins_with_the_body_before():
    texts = Texts(1)
    dialogue = Dialogue(7, texts.text(-1, 0, 1_536), texts)
    dialogue.add(b"user", 100)
    first, tokens = dialogue.body(), dialogue.tokens
    dialogue.add(b"assistant", 50)
    dialogue.add(b"user", 20_000)
    second = dialogue.body()
    messages = json.loads(second)["messages"]
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user"]
    assert [len(message["content"]) for message in messages] == [4 * n for n in (1_536, 100, 50, 20_000)]
    assert messages[:2] == json.loads(first)["messages"]
    assert second.startswith(first[: first.index(b"]")])
    assert (tokens, dialogue.tokens) == (1_636, 21_686)
