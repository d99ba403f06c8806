"""Restarts of the instance, reported to the registry as events."""

import pytest

from svc.babysitter.instance_watch import ProcessSnapshot
from svc.babysitter.restarter import RestartReporter
from svc.base.errors import NotFound, RateLimited, Unavailable


class FakeRegistry:
    def __init__(self):
        self.events = []
        self.failure = None

    def report_events(self, events):
        if self.failure:
            raise self.failure
        self.events += events


@pytest.fixture
def registry():
    return FakeRegistry()


@pytest.fixture
def reporter(registry):
    return RestartReporter(registry, "a-server")


def process(restarts, reason=""):
    return ProcessSnapshot("RUNNING", 7, 1.0, restarts, False, reason)


def test_each_restart_is_an_event_with_its_reason(registry, reporter):
    for snapshot in (None, process(2), process(2), process(3, "exit code 1"), process(3, "exit code 1")):
        reporter.run_round(snapshot)
    assert registry.events == [
        {"kind": "restarted", "service": "a-server", "source": "babysitter", "message": "exit code 1"}
    ]


def test_restarts_while_the_registry_is_away_are_one_event(registry, reporter):
    reporter.run_round(process(0))
    registry.failure = Unavailable("away")
    reporter.run_round(process(1))
    reporter.run_round(process(2))
    registry.failure = None
    reporter.run_round(process(2))
    assert [event["message"] for event in registry.events] == ["its process ended, 2 times"]


def test_a_rate_limited_reporter_waits_as_long_as_the_registry_says(registry):
    now = [0.0]
    reporter = RestartReporter(registry, "a-server", lambda: now[0])
    reporter.run_round(process(0))
    registry.failure = RateLimited("too many", retry_after=30)
    reporter.run_round(process(1))
    registry.failure = None
    now[0] = 29.0
    reporter.run_round(process(2))
    assert registry.events == []
    now[0] = 30.0
    reporter.run_round(process(2))
    assert [event["message"] for event in registry.events] == ["its process ended, 2 times"]


def test_a_restart_count_that_begins_anew_is_no_restart(registry, reporter):
    for restarts in (3, 0, 1):
        reporter.run_round(process(restarts))
    assert len(registry.events) == 1


def test_a_registry_without_events_is_logged_once(registry, reporter, caplog):
    registry.failure = NotFound("no such path")
    for restarts in range(4):
        reporter.run_round(process(restarts))
    assert len(caplog.records) == 1
