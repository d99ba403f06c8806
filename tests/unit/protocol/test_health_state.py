"""The health state of a service in one word."""

import pytest

from svc.protocol.event import EVENT_KINDS, Event
from svc.protocol.health_state import HEALTH_STATES, level_of, state_of

LISTED = {"name": "a", "status": "running", "is_healthy": True, "health_status": "unknown", "drained": False}


@pytest.mark.parametrize(
    ("more", "state"),
    [
        ({}, "healthy"),
        ({"drained": True, "is_healthy": False}, "drained"),
        ({"drained": True, "is_healthy": False, "status": "failed"}, "drained, failed"),
        ({"status": "starting", "is_healthy": False}, "starting"),
        ({"health_status": "unhealthy", "is_healthy": False}, "unhealthy"),
        ({"is_healthy": False}, "expired"),
    ],
)
def test_the_state_is_the_first_reason_against_requests(more, state):
    assert state_of({**LISTED, **more}) == state


@pytest.mark.parametrize(
    ("state", "level"),
    [
        ("healthy", "good"),
        ("asleep", "info"),
        ("starting", "warning"),
        ("drained, failed", "warning"),
        ("expired", "bad"),
        ("?", "bad"),
    ],
)
def test_a_state_has_a_level(state, level):
    assert level_of(state) == level


def test_every_state_and_every_event_kind_has_a_meaning():
    for entry in (*HEALTH_STATES.values(), *EVENT_KINDS.values()):
        assert entry.meaning
        assert entry.level in ("good", "warning", "bad", "info")


def test_the_json_of_an_event_shows_level_and_readable_time():
    fields = Event(id=3, time=0.0, kind="ejected", service="a", source="router", message="for 5 s").to_json()
    assert fields == {
        "id": 3,
        "time": "1970-01-01T00:00:00.000Z",
        "kind": "ejected",
        "service": "a",
        "source": "router",
        "message": "for 5 s",
        "level": "bad",
    }
