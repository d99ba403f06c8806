"""What a change of a service is called."""

import pytest
from msgspec.structs import replace

from svc.protocol.event import EVENT_KINDS, MAX_MESSAGE_LENGTH, REPORTED_KINDS, Event, events_between, one_line
from svc.protocol.health_state import HEALTH_STATES
from tests.unit.registry.services import service

ONE = service("a")


def kinds(old, new, why=""):
    return [event.kind for event in events_between(old, new, 5.0, why)]


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({}, {"status": "draining"}, ["draining"]),
        ({"status": "starting"}, {}, ["running"]),
        ({}, {"status": "starting"}, ["starting"]),
        ({"status": "stopped"}, {"status": "starting"}, ["starting"]),
        ({"status": "draining"}, {"status": "starting"}, ["starting"]),
        ({}, {"expired": True}, ["expired"]),
        ({"expired": True}, {}, ["back"]),
        ({"expired": True}, {"status": "starting"}, ["back", "starting"]),
        ({}, {"drained": True}, ["drained"]),
        ({"drained": True}, {}, ["undrained"]),
        ({"health_status": "healthy"}, {"health_status": "unhealthy"}, ["unhealthy"]),
        ({"health_status": "unhealthy"}, {"health_status": "healthy"}, ["healthy"]),
        ({"health_status": "unhealthy"}, {"health_status": "unknown"}, []),
        ({}, {"health_status": "healthy"}, []),
        ({}, {"last_heartbeat": 9.0, "weight": 4, "metadata": {"x": 1}}, []),
        ({}, {"url": "http://10.0.0.8:8100", "status": "starting"}, ["registered"]),
    ],
)
def test_a_change(before, after, told):
    assert kinds(replace(ONE, **before), replace(ONE, **after)) == told


def test_who_comes_and_who_goes():
    (came,) = events_between(None, ONE, 5.0)
    assert (came.kind, came.service, came.message) == ("registered", "a", "running, at http://10.0.0.7:8100")
    (went,) = events_between(ONE, None, 5.0, "it was removed")
    assert (went.kind, went.message, went.time, went.source) == ("left", "it was removed", 5.0, "registry")


@pytest.mark.parametrize(
    ("before", "after", "reason", "told"),
    [
        ("running", "starting", "Exited with code 3", ("exited", "warning", "Exited with code 3")),
        ("running", "starting", "", ("starting", "info", "it was running")),
        ("running", "starting", ["x"], ("starting", "info", "it was running")),
        ("draining", "starting", "hung", ("exited", "warning", "hung")),
        ("stopped", "starting", "hung", ("starting", "info", "it was stopped")),
        ("starting", "failed", "Exited with code 3", ("failed", "bad", "Exited with code 3")),
        ("starting", "failed", "", ("failed", "bad", "it was starting")),
        ("starting", "running", "Exited with code 3", ("running", "good", "it was starting")),
        ("running", "starting", "\x1b[31mred\n\u202e", ("exited", "warning", "\ufffd[31mred \ufffd")),
    ],
)
def test_what_ended_is_told_with_its_reason(before, after, reason, told):
    old, new = (replace(ONE, status=status, metadata={"restart_reason": reason}) for status in (before, after))
    (event,) = events_between(old, new, 5.0)
    assert (event.kind, event.to_json()["level"], event.message) == told


def test_somebody_else_s_words_are_one_short_line():
    assert one_line(" a\tb\r\n\x07 é 日本 \u2028c\x9b") == "a b \ufffd é 日本 c\ufffd"
    assert len(one_line("x" * 9999)) == MAX_MESSAGE_LENGTH


def test_the_silence_that_is_told_is_the_real_one():
    before = replace(ONE, lease_seconds=30, last_heartbeat=1000.0)
    (event,) = events_between(before, replace(before, expired=True), 1087.2)
    assert (event.kind, event.message) == ("expired", "silent for 87 s")


def test_every_kind_that_the_registry_tells_comes_of_a_change_and_no_other_does():
    states = [
        None,
        ONE,
        *(replace(ONE, status=word) for word in HEALTH_STATES if word in EVENT_KINDS and word not in ("drained",)),
    ]
    states += [replace(ONE, **more) for more in ({"expired": True}, {"drained": True}, {"health_status": "unhealthy"})]
    states += [replace(ONE, health_status="healthy"), replace(ONE, status="starting")]
    states += [replace(ONE, status="starting", metadata={"restart_reason": "it crashed"})]
    found = {kind for old in states for new in states if old or new for kind in kinds(old, new)}
    assert found >= set(EVENT_KINDS) - REPORTED_KINDS


def test_its_json():
    told = Event(id=3, time=0.0, kind="ejected", service="a", source="router", message="m").to_json()
    assert told == {
        "id": 3,
        "time": "1970-01-01T00:00:00.000Z",
        "kind": "ejected",
        "service": "a",
        "source": "router",
        "message": "m",
        "level": "bad",
    }
