"""The cached status of an engine: few checks, each within its timeout."""

import threading

import pytest

from svc.babysitter.engine_status import NO_ANSWER, EngineStatus, Readiness

A, B = {"id": "a"}, {"id": "b"}


class FakeEngine:
    """Has the models of a URL in `models`; each check takes `check_seconds` of the clock."""

    def __init__(self, **models):
        self.models, self.check_seconds, self.now, self.checks = models, 0.0, 0.0, []

    def check(self, url, timeout):
        self.checks.append((url, timeout))
        self.now += min(self.check_seconds, timeout)
        models = self.models.get(url, [])
        return Readiness(models, "" if models else NO_ANSWER)

    def status(self, *urls):
        return EngineStatus(urls, self.check, clock=lambda: self.now, max_age=2.0, timeout=5.0)


def test_many_callers_cost_one_check():
    engine = FakeEngine(here=[A])
    status = engine.status("here")
    assert [status.models() for _ in range(50)] == [[A]] * 50
    assert len(engine.checks) == 1


def test_a_result_is_kept_for_two_seconds():
    engine = FakeEngine(here=[A])
    status = engine.status("here")
    status.models()
    engine.now, engine.models = 2.0, {}
    assert status.models() == []


def test_a_failed_check_is_kept_too():
    engine = FakeEngine()
    status = engine.status("here")
    assert [status.models() for _ in range(9)] == [[]] * 9
    assert len(engine.checks) == 1


def test_check_now_checks_at_once_and_its_result_is_shared():
    engine = FakeEngine(here=[A])
    status = engine.status("here")
    status.models()
    engine.models = {"here": [B]}
    assert status.check_now() == status.models() == [B]
    assert len(engine.checks) == 2


def test_the_next_url_is_checked_when_the_first_is_not_ready():
    engine = FakeEngine(there=[A])
    assert engine.status("here", "there", "here").models() == [A]
    assert [url for url, _ in engine.checks] == ["here", "there"]


def test_an_engine_that_hangs_costs_the_timeout_once():
    engine = FakeEngine()
    engine.check_seconds = 60
    assert engine.status("here", "there").models() == []
    assert engine.checks == [("here", 5.0)]


def test_an_invalidated_result_is_checked_again():
    engine = FakeEngine(here=[A])
    status = engine.status("here")
    status.models()
    status.invalidate()
    engine.models = {}
    assert status.models() == []


def test_a_misconfiguration_is_reported_until_another_process_runs():
    status = EngineStatus(["here"], lambda url, timeout: Readiness(reason="it wants a key", misconfigured=True))
    assert not status.misconfigured
    status.models()
    assert status.misconfigured
    status.invalidate()
    assert not status.misconfigured


def test_a_result_that_is_invalidated_during_its_check_is_not_kept():
    engine = FakeEngine(here=[A])
    status = engine.status("here")
    original_check = engine.check
    status.check = lambda url, timeout: (status.invalidate(), original_check(url, timeout))[1]
    status.models()
    status.check = original_check
    engine.models = {}
    assert status.models() == []


def test_a_check_that_raises_leaves_no_old_result():
    engine = FakeEngine(here=[A])
    status = engine.status("here")
    status.models()
    status.check = lambda url, timeout: 1 / 0
    with pytest.raises(ZeroDivisionError):
        status.check_now()
    status.check = engine.check
    engine.models = {"here": [B]}
    assert status.models() == [B]


def test_callers_during_a_check_wait_for_its_result():
    checking, may_answer, count = threading.Event(), threading.Event(), []

    def check(url, timeout):
        count.append(url)
        checking.set()
        assert may_answer.wait(10)
        return Readiness([A])

    status = EngineStatus(["here"], check)
    results = []
    threads = [threading.Thread(target=lambda: results.append(status.models())) for _ in range(5)]
    for thread in threads:
        thread.start()
    assert checking.wait(10)
    may_answer.set()
    for thread in threads:
        thread.join(10)
    assert results == [[A]] * 5
    assert len(count) == 1


def test_the_reason_of_a_url_that_answers_wins():
    readiness = {"here": Readiness(reason=NO_ANSWER), "there": Readiness(reason="it warms up"), "other": Readiness()}
    status = EngineStatus(["here", "there", "other"], lambda url, timeout: readiness[url])
    assert status.reason == NO_ANSWER
    assert status.models() == []
    assert status.reason == "it warms up"
    readiness["here"] = Readiness([A])
    assert status.check_now() == [A]
    assert status.reason == ""
