import re

import pytest

from svc.base.errors import BadRequest, RateLimited, Unavailable
from svc.router.telemetry import event_reporter
from svc.router.telemetry.event_reporter import EventForwarder, EventReporter
from tests.unit.router.examples import Clock, state, target


class Registry:
    def __init__(self):
        self.received = []
        self.trouble = None

    def report_events(self, events):
        if self.trouble:
            raise self.trouble
        self.received += [(event["kind"], event["service"]) for event in events]


@pytest.fixture
def registry():
    return Registry()


def test_events_are_sent_once_and_in_order(registry):
    reporter = EventReporter(8000)
    forwarder = EventForwarder(reporter, registry)
    reporter.add("ejected", "a", "3 failures")
    reporter.add("readmitted", "a")
    forwarder.run_round()
    forwarder.run_round()
    assert registry.received == [("ejected", "a"), ("readmitted", "a")]


def test_events_are_kept_up_to_a_limit_while_the_registry_is_away(registry, monkeypatch):
    monkeypatch.setattr(event_reporter, "MAX_KEPT_EVENTS", 3)
    reporter = EventReporter(8000)
    registry.trouble = Unavailable("away")
    for number in range(5):
        reporter.add("ejected", f"n{number}")
        EventForwarder(reporter, registry).run_round()
    registry.trouble = None
    EventForwarder(reporter, registry).run_round()
    assert [name for _, name in registry.received] == ["n2", "n3", "n4"]
    assert reporter.dropped == 2


def test_refused_events_are_dropped_and_logged_once(registry, caplog):
    reporter = EventReporter(8000)
    forwarder = EventForwarder(reporter, registry)
    registry.trouble = BadRequest("no such path")
    for _ in range(3):
        reporter.add("ejected", "a")
        forwarder.run_round()
    assert (reporter.dropped, reporter.next_batch()) == (3, [])
    assert len([r for r in caplog.records if "takes no events" in r.message]) == 1


def test_a_rate_limit_of_the_registry_is_respected(registry):
    reporter, clock = EventReporter(8000), Clock()
    forwarder = EventForwarder(reporter, registry, clock)
    registry.trouble = RateLimited("too many", retry_after=30)
    reporter.add("ejected", "a")
    forwarder.run_round()
    registry.trouble = None
    reporter.add("readmitted", "a")
    clock.now += 29
    forwarder.run_round()
    assert registry.received == []
    clock.now += 1
    forwarder.run_round()
    assert (registry.received, reporter.dropped) == ([("ejected", "a"), ("readmitted", "a")], 0)


def test_checks_and_ejections_are_events():
    clock = Clock()
    instance = target("a", "m")
    router = state(instance, clock=clock, max_errors=1)
    woken = []
    router.event_reporter.on_added = lambda: woken.append(1)
    router.balancer.begin_attempt(instance, False)
    router.balancer.end_attempt(instance, 0.1, failed=True, ejection_reason="Connection refused")
    clock.now = router.now = clock.now + 20
    router.sweep()
    router.balancer.begin_attempt(instance, False)
    router.balancer.end_attempt(instance, 0.1, failed=False)
    router.balancer.record_check("a", False)
    router.balancer.record_check("a", True)
    router.balancer.record_check("a", True)
    events = router.event_reporter.next_batch()
    assert [event["kind"] for event in events] == ["ejected", "readmitted", "failing", "passing"]
    assert re.fullmatch(r"a request failed: Connection refused; nothing new for [456] s", events[0]["message"])
    assert [event["message"] for event in events[2:]] == ["one check failed", "2 checks in a row went well"]
    assert {event["service"] for event in events} == {"a"}
    assert len(woken) == 4


def kinds(router):
    return [event["kind"] for event in router.event_reporter.next_batch()]


def fail(router, instance, why="it answered 502"):
    router.balancer.begin_attempt(instance, False)
    router.balancer.end_attempt(instance, 0.1, failed=True, ejection_reason=why)


def later(router, clock, seconds):
    clock.now = router.now = clock.now + seconds
    router.sweep()


def test_an_ejection_event_has_the_cause():
    clock = Clock()
    instance = target("a", "m")
    router = state(instance, clock=clock, max_errors=3)
    for why in ("Connection refused", "Connection refused", "it answered 502"):
        fail(router, instance, why)
    later(router, clock, 20)
    fail(router, instance, "no answer within 60 s")
    first, second = (event["message"] for event in router.event_reporter.next_batch())
    assert re.fullmatch(r"3 requests in a row failed, the last one: it answered 502; nothing new for \d s", first)
    trial = r"the trial request failed: no answer within 60 s; nothing new for \d+ s, 2 times in a row"
    assert re.fullmatch(trial, second)


def recovers(router, instance) -> None:
    """Let two checks and a request succeed."""
    router.balancer.record_check("a", True)
    router.balancer.record_check("a", True)
    router.balancer.begin_attempt(instance, False)
    router.balancer.end_attempt(instance, 0.1, failed=False)


def test_an_instance_that_fails_its_checks_causes_no_ejection_events():
    clock = Clock()
    instance = target("a", "m")
    router = state(instance, clock=clock, max_errors=1)
    router.balancer.record_check("a", False)
    fail(router, instance)
    later(router, clock, 20)
    fail(router, instance)
    recovers(router, instance)
    assert router.health.is_usable(instance)
    assert kinds(router) == ["failing", "passing"]


def test_the_return_of_an_ejected_instance_is_an_event():
    clock = Clock()
    instance = target("a", "m")
    router = state(instance, clock=clock, max_errors=1)
    fail(router, instance)
    router.balancer.record_check("a", False)
    later(router, clock, 20)
    fail(router, instance)
    recovers(router, instance)
    assert kinds(router) == ["ejected", "failing", "passing", "readmitted"]


@pytest.mark.parametrize(("well", "expected"), [(False, ["passing"]), (None, ["failing", "passing"])])
def test_a_new_router_does_not_repeat_the_registrys_state(well, expected):
    router = state(target("a", "m", healthy=well), max_errors=1)
    for answer in (False, True, True):
        router.balancer.record_check("a", answer)
    assert kinds(router) == expected
