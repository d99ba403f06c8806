"""Restarts as events."""

import pytest

from svc.babysitter.event_reporter import News
from svc.babysitter.instance_watch import Sighting
from svc.base.errors import NotFound, RateLimited, Unavailable


class Registry:
    def __init__(self):
        self.told = []
        self.trouble = None

    def report_events(self, events):
        if self.trouble:
            raise self.trouble
        self.told += events


@pytest.fixture
def registry():
    return Registry()


@pytest.fixture
def news(registry):
    return News(registry, "a-server")


def seen(restarts, reason=""):
    return Sighting("RUNNING", 7, 1.0, restarts, False, reason)


def test_each_restart_with_its_reason_and_not_those_before_it_began(registry, news):
    for sighting in (None, seen(2), seen(2), seen(3, "exit code 1"), seen(3, "exit code 1")):
        news.round(sighting)
    assert registry.told == [
        {"kind": "restarted", "service": "a-server", "source": "babysitter", "message": "exit code 1"}
    ]


def test_several_while_nobody_answered_are_one(registry, news):
    news.round(seen(0))
    registry.trouble = Unavailable("away")
    news.round(seen(1))
    news.round(seen(2))
    registry.trouble = None
    news.round(seen(2))
    assert [event["message"] for event in registry.told] == ["its process ended, 2 times"]


def test_a_registry_that_has_had_enough_is_left_alone_for_so_long(registry):
    now = [0.0]
    news = News(registry, "a-server", lambda: now[0])
    news.round(seen(0))
    registry.trouble = RateLimited("too many", retry_after=30)
    news.round(seen(1))
    registry.trouble = None
    now[0] = 29.0
    news.round(seen(2))
    assert registry.told == []
    now[0] = 30.0
    news.round(seen(2))
    assert [event["message"] for event in registry.told] == ["its process ended, 2 times"]


def test_a_count_that_begins_anew_is_no_restart(registry, news):
    for restarts in (3, 0, 1):
        news.round(seen(restarts))
    assert len(registry.told) == 1


def test_a_registry_that_knows_no_events_is_complained_of_once(registry, news, caplog):
    registry.trouble = NotFound("no such path")
    for restarts in range(4):
        news.round(seen(restarts))
    assert len(caplog.records) == 1
