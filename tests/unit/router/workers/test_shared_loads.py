import pytest

from svc.router.balance.work import EngineView
from svc.router.workers.shared_counts import SharedCounts
from svc.router.workers.shared_loads import SharedLoads, SharedTurns, SharedWork, suspicions
from tests.unit.router.examples import target
from tests.unit.router.workers.examples import RelayingProcess, process, snapshot


@pytest.fixture
def counts() -> SharedCounts:
    return SharedCounts(3)


def test_the_load_of_an_instance_is_that_of_all_processes(counts: SharedCounts):
    first, second = (SharedLoads(process(counts, slot)) for slot in (1, 2))
    first.rows["a"][1] += 2
    second.rows["a"][2] += 1
    assert (first.get("a"), second.get("a", 0), first.get("unused")) == (3, 3, 0)
    counts.clear(1)
    assert second.get("a") == 1


def test_the_requests_of_all_processes_take_turns_together(counts: SharedCounts):
    first, second = (SharedTurns(process(counts, slot)) for slot in (1, 2))
    assert [next(turns["m"]) for turns in (first, second, second, first)] == [0, 1, 2, 3]
    assert next(second["other model"]) == 0


def test_a_suspicion_is_the_same_in_every_process(counts: SharedCounts):
    suspicions(process(counts, 1))["a"][0] = 1
    assert (suspicions(process(counts, 2))["a"][0], suspicions(counts)["b"][0]) == (1, 0)


def test_the_tokens_in_flight_are_those_of_all_processes(counts: SharedCounts):
    first, second = (SharedWork(process(counts, slot), always_tracked=True) for slot in (1, 2))
    attempt = first.begin("a", "m", b"x" * 400)
    second.begin("a", "m", b"x" * 400)
    assert first.of("a") == second.of("a") == 2 * (100 + 256)
    attempt.end()
    assert first.of("a") == second.of("a") == 356
    counts.clear(2)
    assert first.of("a") == 0


def test_the_loads_of_engines_come_with_the_snapshots(counts: SharedCounts):
    a, b = target("a", "m"), target("b", "m")
    relaying = RelayingProcess(counts, 1, a, b)
    assert not relaying.balancer.work.is_tracked
    relaying.balancer.adopt(snapshot(a, b, view=EngineView({"a": 3, "b": 1}, frozenset("b"))))
    assert relaying.balancer.work.is_tracked
    assert relaying.balancer.work.view.crowded == {"b"}
    relaying.balancer.adopt(snapshot(a, b))
    assert not relaying.balancer.work.is_tracked


def test_usage_that_no_engine_can_have_does_not_overflow_the_shared_counts(counts: SharedCounts):
    work = SharedWork(process(counts, 1), always_tracked=True)
    for _ in range(100):
        attempt = work.begin("a", "m", b"{}")
        attempt.end()
        attempt.learn(10**12, 10**12)
    attempts = [work.begin("a", "m", b"x" * (64 << 20)) for _ in range(3)]
    assert work.of("a") > 0
    for attempt in attempts:
        attempt.end()
    assert work.of("a") == 0
