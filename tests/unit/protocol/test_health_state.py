"""One word for what becomes of a service."""

import pytest

from svc.protocol.event import EVENT_KINDS, Event
from svc.protocol.health_state import HEALTH_STATES, level_of, state_of
from tests.unit.terminal.test_services_table import service


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
def test_the_state_is_the_first_thing_that_keeps_it_from_requests(more, state):
    assert state_of(service(**more)) == state


@pytest.mark.parametrize(
    ("state", "level"),
    [("healthy", "good"), ("starting", "warning"), ("drained, failed", "warning"), ("expired", "bad"), ("?", "bad")],
)
def test_a_state_has_a_level(state, level):
    assert level_of(state) == level


def test_every_word_and_every_kind_says_what_it_means():
    for told in (*HEALTH_STATES.values(), *EVENT_KINDS.values()):
        assert told.meaning
        assert told.level in ("good", "warning", "bad", "info")


def test_an_event_is_told_with_its_level_and_a_time_that_people_read():
    told = Event(id=3, time=0.0, kind="ejected", service="a", source="router", message="for 5 s").to_json()
    assert told == {
        "id": 3,
        "time": "1970-01-01T00:00:00.000Z",
        "kind": "ejected",
        "service": "a",
        "source": "router",
        "message": "for 5 s",
        "level": "bad",
    }
