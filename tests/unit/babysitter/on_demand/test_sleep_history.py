"""What is remembered of wakes and sleeps, and which events the registry gets."""

import pytest

from svc.babysitter.lifecycle import LifecycleEvent, LifecycleState, step
from svc.babysitter.on_demand.sleep_history import SleepHistory
from svc.client.event_sender import Delivery


class Instance:
    """Walks through the lifecycle table, as the monitor does."""

    def __init__(self) -> None:
        self.now, self.state = 0.0, LifecycleState.UNSEEN
        self.history = SleepHistory("qwen-server", lambda: self.now, lambda: 1000 + self.now)

    def apply(self, *events, seconds=0.0):
        for event in events:
            self.now += seconds
            before, (self.state, _) = self.state, step(self.state, event)
            self.history.observe(before, event, self.state)

    @property
    def events(self):
        return [(event["kind"], event["message"]) for event in self.history.events]


@pytest.fixture
def instance():
    return Instance()


def test_a_wake_for_requests_is_measured_and_reported(instance):
    instance.apply(LifecycleEvent.SLEEPS)
    instance.history.expect_wake("3 requests waited")
    instance.apply(LifecycleEvent.SPAWNED, seconds=1)
    instance.apply(LifecycleEvent.READY, seconds=14.23)
    assert instance.events == [("woken", "3 requests waited; ready after 14.2 s")]
    assert (instance.history.load_seconds, instance.history.loads) == (14.2, 1)


def test_giving_way_is_reported_with_its_reason_and_duration(instance):
    instance.apply(LifecycleEvent.SPAWNED, LifecycleEvent.READY)
    instance.history.expect_sleep("chat needs GPU 0")
    instance.apply(LifecycleEvent.RELEASED)
    instance.apply(LifecycleEvent.STOPPING, LifecycleEvent.SLEEPS, seconds=2)
    assert instance.events == [("slept", "chat needs GPU 0; it took 4 s")]
    assert instance.history.slept.to_json() == {
        "reason": "chat needs GPU 0",
        "seconds": 4.0,
        "time": "1970-01-01T00:16:44.000Z",
    }


def test_what_an_operator_does_with_supervisorctl_is_told_as_such(instance):
    instance.apply(LifecycleEvent.SLEEPS, LifecycleEvent.SPAWNED, LifecycleEvent.READY)
    instance.apply(LifecycleEvent.STOPPING, LifecycleEvent.SLEEPS, seconds=1)
    assert instance.events == [
        ("woken", "started by an operator; ready after 0 s"),
        ("slept", "stopped by an operator; it took 1 s"),
    ]


def test_a_drain_that_was_ended_leaves_no_reason_behind(instance):
    instance.apply(LifecycleEvent.SPAWNED, LifecycleEvent.READY)
    instance.history.expect_sleep("chat needs GPU 0")
    instance.apply(LifecycleEvent.RELEASED, LifecycleEvent.KEPT)
    instance.apply(LifecycleEvent.STOPPING, LifecycleEvent.SLEEPS, seconds=1)
    assert instance.events == [("slept", "stopped by an operator; it took 1 s")]


def test_a_babysitter_that_finds_it_asleep_or_running_reports_nothing(instance):
    instance.apply(LifecycleEvent.SLEEPS)
    other = Instance()
    other.apply(LifecycleEvent.SPAWNED, LifecycleEvent.READY, seconds=5)
    assert instance.events == other.events == []
    assert other.history.load_seconds is None  # the load began before this babysitter


def test_a_crash_is_no_wake_but_its_load_is_measured(instance):
    instance.apply(LifecycleEvent.SPAWNED, LifecycleEvent.READY, LifecycleEvent.EXITED)
    instance.apply(LifecycleEvent.SPAWNED, LifecycleEvent.READY, seconds=3)
    assert instance.events == []
    assert (instance.history.load_seconds, instance.history.loads) == (3.0, 2)


class Sender:
    is_ready = True

    def __init__(self, *results):
        self.results, self.sent = list(results), []

    def send(self, events):
        self.sent.append([event["kind"] for event in events])
        return self.results.pop(0)


def test_events_are_kept_until_the_registry_takes_them(instance):
    instance.apply(LifecycleEvent.SLEEPS, LifecycleEvent.SPAWNED, LifecycleEvent.READY)
    sender = Sender(Delivery.POSTPONED, Delivery.ACCEPTED)
    instance.history.report(sender)
    instance.history.report(sender)
    instance.history.report(sender)
    assert sender.sent == [["woken"], ["woken"]]


def test_an_engine_that_slept_before_the_babysitter_is_no_event_but_its_wake_is(instance):
    instance.apply(LifecycleEvent.SPAWNED, LifecycleEvent.SLEEPS)
    assert instance.events == []
    instance.apply(LifecycleEvent.WAKES, LifecycleEvent.READY, seconds=1)
    assert [kind for kind, _ in instance.events] == ["woken"]
