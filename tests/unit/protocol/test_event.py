"""Events of the changes of a service."""

import pytest
from msgspec.structs import replace

from svc.protocol.event import (
    EVENT_KINDS,
    MAX_MESSAGE_LENGTH,
    REPORTED_KINDS,
    Actor,
    Event,
    events_between,
    one_line,
    reporter_of,
)
from svc.protocol.health_state import HEALTH_STATES
from tests.unit.registry.services import service

SERVICE = service("a")


def kinds(old, new, why=""):
    return [event.kind for event in events_between(old, new, 5.0, why)]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
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
        ({}, {"drained": True, "handover": True}, ["handover"]),
        ({"drained": True}, {"drained": True, "handover": True}, ["handover"]),
        ({"drained": True, "handover": True}, {"drained": True}, ["drained"]),
        ({"drained": True, "handover": True}, {}, ["undrained"]),
        ({"health_status": "healthy"}, {"health_status": "unhealthy"}, ["unhealthy"]),
        ({"health_status": "unhealthy"}, {"health_status": "healthy"}, ["healthy"]),
        ({"health_status": "unhealthy"}, {"health_status": "unknown"}, []),
        ({}, {"health_status": "healthy"}, []),
        ({}, {"last_heartbeat": 9.0, "weight": 4, "metadata": {"x": 1}}, []),
        ({}, {"url": "http://10.0.0.8:8100", "status": "starting"}, ["registered"]),
    ],
)
def test_a_change_has_its_events(before, after, expected):
    assert kinds(replace(SERVICE, **before), replace(SERVICE, **after)) == expected


def test_registration_and_removal_are_events():
    (registered,) = events_between(None, SERVICE, 5.0)
    assert (registered.kind, registered.service, registered.message) == (
        "registered",
        "a",
        "running, at http://10.0.0.7:8100",
    )
    (left,) = events_between(SERVICE, None, 5.0, "it was removed")
    assert (left.kind, left.message, left.time, left.source) == ("left", "it was removed", 5.0, "registry")


@pytest.mark.parametrize(
    ("before", "after", "reason", "expected"),
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
def test_the_end_of_a_process_has_its_reason(before, after, reason, expected):
    old, new = (replace(SERVICE, status=status, metadata={"restart_reason": reason}) for status in (before, after))
    (event,) = events_between(old, new, 5.0)
    assert (event.kind, event.to_json()["level"], event.message) == expected


def test_text_from_outside_becomes_one_short_line():
    assert one_line(" a\tb\r\n\x07 é 日本 \u2028c\x9b") == "a b \ufffd é 日本 c\ufffd"
    assert len(one_line("x" * 9999)) == MAX_MESSAGE_LENGTH


def test_an_expiry_reports_the_real_silence():
    before = replace(SERVICE, lease_seconds=30, last_heartbeat=1000.0)
    (event,) = events_between(before, replace(before, expired=True), 1087.2)
    assert (event.kind, event.message) == ("expired", "silent for 87 s")


def test_each_kind_of_the_registry_comes_from_a_change():
    states = [
        None,
        SERVICE,
        *(
            replace(SERVICE, status=state)
            for state in HEALTH_STATES
            if state in EVENT_KINDS and state not in ("drained",)
        ),
    ]
    states += [
        replace(SERVICE, **more)
        for more in (
            {"expired": True},
            {"drained": True},
            {"drained": True, "handover": True},
            {"health_status": "unhealthy"},
        )
    ]
    states += [replace(SERVICE, health_status="healthy"), replace(SERVICE, status="starting")]
    states += [replace(SERVICE, status="starting", metadata={"restart_reason": "it crashed"})]
    produced = {kind for old in states for new in states if old or new for kind in kinds(old, new)}
    assert produced >= set(EVENT_KINDS) - REPORTED_KINDS - {"released"}  # which POST /expire makes


def test_the_json_of_an_event_has_its_level_and_an_iso_time():
    fields = Event(id=3, time=0.0, kind="ejected", service="a", source="router", message="m").to_json()
    assert fields == {
        "id": 3,
        "time": "1970-01-01T00:00:00.000Z",
        "kind": "ejected",
        "service": "a",
        "source": "router",
        "message": "m",
        "level": "bad",
    }


ALICE = Actor("alice", "10.0.0.9")


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (SERVICE, replace(SERVICE, drained=True), "by alice at 10.0.0.9"),
        (replace(SERVICE, drained=True), SERVICE, "by alice at 10.0.0.9"),
        (None, SERVICE, "running, at http://10.0.0.7:8100; by alice at 10.0.0.9"),
        (SERVICE, None, "by alice at 10.0.0.9"),
    ],
)
def test_the_events_of_an_operators_change_name_the_actor(before, after, message):
    (event,) = events_between(before, after, 5.0, actor=ALICE)
    assert (event.message, event.actor, event.address) == (message, "alice", "10.0.0.9")
    assert event.to_json()["actor"] == "alice"
    assert reporter_of(event) == "actor:alice"


def test_clients_without_a_token_are_one_actor_at_whatever_addresses():
    events = [Event(time=0.0, kind="rollout", service="svc").by(Actor(f"unverified@10.0.0.{n}", "")) for n in (1, 2)]
    assert {reporter_of(event) for event in events} == {"actor:unverified"}


def test_other_events_have_no_actor_in_json():
    (event,) = events_between(None, SERVICE, 5.0)
    assert not {"actor", "address"} & event.to_json().keys()


@pytest.mark.parametrize(
    ("actor", "text"),
    [
        (Actor("operator", "10.0.0.9"), "by an operator at 10.0.0.9"),
        (Actor("local", "127.0.0.1"), "by an operator at 127.0.0.1"),
        (Actor("user:bob", "127.0.0.1"), "by user:bob at 127.0.0.1"),
        (Actor("unverified@10.0.0.9", "10.0.0.9", "user:bob"), "by unverified user:bob at 10.0.0.9"),
        (Actor("unverified@10.0.0.9", "10.0.0.9"), "by unverified at 10.0.0.9"),
    ],
)
def test_an_actor_is_a_text(actor, text):
    assert actor.text == text


def test_a_long_message_keeps_its_actor():
    event = Event(time=5.0, kind="rollout", service="svc", message="x" * MAX_MESSAGE_LENGTH).by(ALICE)
    assert len(event.message) == MAX_MESSAGE_LENGTH
    assert event.message.endswith("x; by alice at 10.0.0.9")
