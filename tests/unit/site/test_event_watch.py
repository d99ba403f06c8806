"""The events that `svc events` selects, and a name that no registered service has."""

import datetime
import io

import pytest

from svc.base.errors import CommandError, Unavailable
from svc.client.service_names import possible_services
from svc.site.event_watch import events_of, events_since, follow_events, require_service
from svc.terminal.console import Console
from svc.terminal.event_lines import EventPrinter
from tests.unit.client.listed_services import BABYSITTER, service
from tests.unit.site.interrupts import interrupt_in_a_finalizer, interrupted

EVENTS = [{"service": name, "kind": "registered"} for name in ("qwen", "qwen-server", "llama-server")]


class ListedServices:
    """A client of a registry that lists some services."""

    urls = ("http://registry",)

    def services(self):
        return [service("qwen-server"), BABYSITTER]


def test_a_babysitters_name_selects_the_events_of_its_instance_too():
    assert [event["service"] for event in events_of(EVENTS, possible_services("qwen"))] == ["qwen", "qwen-server"]


def test_without_a_name_all_events_are_selected():
    assert events_of(EVENTS, possible_services("")) == EVENTS


class Pages:
    """A client of a registry that keeps five events and returns two of them at a time."""

    def events(self, after, limit, wait, only):
        assert (wait, only) == (0, {"audit": "true"})
        page = [{"time": f"2026-12-01T0{hour}:00:00.000Z"} for hour in range(after + 1, min(after + 3, 6))]
        return page, after + len(page)


def test_all_events_since_a_time_are_listed_from_several_answers():
    since = datetime.datetime(2026, 12, 1, 2, tzinfo=datetime.timezone.utc).timestamp()
    events, last = events_since(Pages(), since, {"audit": "true"})
    assert [event["time"][12] for event in events] == ["2", "3", "4", "5"]
    assert last == 5


def test_a_registered_service_without_events_is_no_error():
    require_service(ListedServices(), "qwen:server", possible_services("qwen:server"), follow=False)


def test_a_name_that_no_service_has_is_an_error():
    with pytest.raises(CommandError, match="no event of qwem is kept, and no service 'qwem' is registered"):
        require_service(ListedServices(), "qwem", possible_services("qwem"), follow=False)


def test_a_service_that_is_followed_may_still_register(capsys):
    require_service(ListedServices(), "late", possible_services("late"), follow=True)
    assert "waiting for it" in capsys.readouterr().err


class InterruptedRegistry(ListedServices):
    """A client at which Ctrl-C is pressed in a finalizer of its first request, which then fails or succeeds."""

    def __init__(self, fails: bool) -> None:
        self.fails = fails
        self.requests = 0

    def events(self, *_: object):
        self.requests += 1
        assert self.requests == 1, "the interrupt is lost"
        interrupt_in_a_finalizer()
        if self.fails:
            raise Unavailable("away")
        return EVENTS, 3


@pytest.mark.parametrize("fails", [False, True])
def test_an_interrupt_in_a_finalizer_ends_the_following(fails):
    printer = EventPrinter(Console(file=io.StringIO()), as_json=True)
    with interrupted():
        follow_events(InterruptedRegistry(fails), 0, {}, possible_services("none"), printer)
