"""vLLM's sleep mode: the requests to the engine, and what its answers mean."""

import pytest

from svc.babysitter.engine_status import Readiness
from svc.babysitter.on_demand.engine_sleep import SLEEP, WAKE, EngineSleep
from tests.unit.babysitter.on_demand.fake_host import FakeEngine, wait_for


@pytest.fixture
def engine():
    return FakeEngine()


def result(engine, action):
    """Return the problem of one request."""
    sleep, problems = EngineSleep(["http://here"], engine.request), []
    sleep.begin(action, problems.append)
    wait_for(sleep)
    (problem,) = problems
    return problem


def test_an_engine_falls_asleep_and_wakes(engine):
    assert (result(engine, SLEEP), engine.is_sleeping) == ("", True)
    assert (result(engine, WAKE), engine.is_sleeping) == ("", False)
    assert engine.sent == ["POST /sleep?level=1", "POST /wake_up"]


@pytest.mark.parametrize("status", [404, 405])
def test_an_engine_without_sleep_mode_is_told_how_to_get_it(engine, status):
    engine.status = status
    assert "VLLM_SERVER_DEV_MODE" in result(engine, SLEEP)


def test_an_error_is_quoted(engine):
    engine.status = 500
    assert "POST /sleep?level=1 answers 500: CUDA error" in result(engine, SLEEP)


def test_an_engine_that_sleeps_in_spite_of_an_error_is_no_problem(engine):
    engine.status, engine.is_sleeping = 500, True
    assert result(engine, SLEEP) == ""


def test_no_answer_is_a_problem(engine):
    engine.request = lambda method, url, timeout: (0, "")
    assert "no answer" in result(engine, WAKE)
    assert "no answer" in result(engine, SLEEP)


def test_only_one_request_is_in_flight(engine):
    sleep = EngineSleep(["http://here"], engine.request)
    sleep.busy = SLEEP
    sleep.begin(WAKE, lambda problem: None)
    assert engine.sent == []


def test_the_time_of_all_addresses_together_is_limited(engine):
    timeouts = []
    sleep = EngineSleep(
        ["http://a", "http://b"], lambda method, url, timeout: (timeouts.append(timeout), (0, ""))[1], 7
    )
    sleep.begin(WAKE, lambda problem: None)
    wait_for(sleep)
    assert max(timeouts[:2]) <= 7


@pytest.mark.parametrize(
    ("answer", "sleeping"),
    [
        ((200, '{"is_sleeping": true}'), True),
        ((200, '{"is_sleeping": false}'), False),
        ((200, "[" * 100_000), False),
        ((200, "true"), False),
        ((404, '{"is_sleeping": true}'), False),
        ((0, ""), False),
    ],
)
def test_a_sleeping_engine_is_not_ready_although_it_lists_its_models(answer, sleeping):
    check = EngineSleep(["http://here"], lambda *_: answer).before(lambda url, timeout: Readiness([{"id": "a"}]))
    readiness = check("http://here", 1.0)
    assert (readiness.sleeping, bool(readiness.models)) == (sleeping, not sleeping)


def test_an_engine_that_wakes_up_is_neither_ready_nor_asleep(engine):
    sleep = EngineSleep(["http://here"], engine.request)
    sleep.busy, engine.is_sleeping = WAKE, True
    readiness = sleep.before(lambda url, timeout: Readiness([{"id": "a"}]))("http://here", 1.0)
    assert (readiness.sleeping, readiness.models, bool(readiness.reason)) == (False, [], True)
