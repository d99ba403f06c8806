"""What two looks at an instance say of what happened between them."""

import logging
import socket
from types import SimpleNamespace

import pytest

from svc.babysitter.instance_watch import REFUSED, Alone, Sighting, Supervised, accepts, happened
from svc.babysitter.lifecycle import Event
from svc.base.errors import Unavailable
from tests.waiting import free_port


@pytest.mark.parametrize(
    ("state", "event"),
    [
        ("STARTING", Event.SPAWNED),
        ("RUNNING", Event.SPAWNED),
        ("BACKOFF", Event.EXITED),
        ("EXITED", Event.EXITED),
        ("STOPPING", Event.STOPPING),
        ("STOPPED", Event.STOPPED),
    ],
)
def test_the_first_look(state, event):
    assert happened(None, Sighting(state)) is event


def test_fatal_is_a_failure_only_when_restarts_are_used_up():
    backoff = Sighting("BACKOFF", restarts=3)
    assert happened(backoff, Sighting("FATAL", restarts=3, failed=True)) is Event.GAVE_UP
    assert happened(backoff, Sighting("FATAL", restarts=1)) is None  # supervisord shuts down


@pytest.mark.parametrize(("before", "now"), [("STARTING", "RUNNING"), ("EXITED", "BACKOFF"), ("RUNNING", "RUNNING")])
def test_the_same_life_of_the_same_process_is_no_event(before, now):
    assert happened(Sighting(before, 7), Sighting(now, 7)) is None


def test_another_pid_is_another_process_though_its_exit_was_not_seen():
    assert happened(Sighting("RUNNING", 7), Sighting("RUNNING", 8)) is Event.SPAWNED


class FakeSupervisord:
    """supervisord with one program, whose answers the test sets."""

    def __init__(self):
        self.state, self.pid, self.told, self.asked, self.away = "RUNNING", 7, (0, False), 0, False

    def process(self, name):
        if self.away:
            raise Unavailable("no supervisord answers")
        assert name == "qwen:server"
        return SimpleNamespace(state=self.state, pid=self.pid, start=1000)

    def restarts(self):
        self.asked += 1
        count, failed = self.told
        return {"qwen:server": SimpleNamespace(restarts=count, max_restarts=3, failed=failed, reason="why")}


def test_supervisord_is_asked_for_restarts_only_when_something_moved():
    supervisord = FakeSupervisord()
    watch = Supervised(supervisord, "qwen:server")
    assert watch.look() == watch.look() == Sighting("RUNNING", 7, 1000, reason="why")
    assert supervisord.asked == 1
    supervisord.pid, supervisord.told = 8, (1, False)
    assert watch.look() == Sighting("RUNNING", 8, 1000, restarts=1, reason="why")


def test_giving_up_is_seen_though_the_state_came_first():
    supervisord = FakeSupervisord()
    watch = Supervised(supervisord, "qwen:server")
    supervisord.state = "FATAL"
    assert not watch.look().failed
    supervisord.told = (3, True)
    assert watch.look() == Sighting("FATAL", 7, 1000, restarts=3, failed=True, reason="why")


def test_a_supervisord_that_is_away_is_told_once_when_it_goes_and_once_when_it_is_back(caplog):
    caplog.set_level(logging.INFO)
    supervisord = FakeSupervisord()
    watch = Supervised(supervisord, "qwen:server")
    supervisord.away = True
    assert [watch.look() for _ in range(5)] == [None] * 5
    supervisord.away = False
    assert watch.look() is not None
    assert [r.getMessage() for r in caplog.records] == [
        "cannot see qwen:server: no supervisord answers",
        "qwen:server is seen again",
    ]


def test_alone_a_port_says_who_lives_and_counts_the_lives():
    knocks = iter([False, True, None, False, True])
    watch = Alone([("127.0.0.1", 1)], knock=lambda _: next(knocks), clock=lambda: 50.0)
    assert watch.look() == Sighting("EXITED")
    assert watch.look() == Sighting("RUNNING", since=50.0)
    assert watch.look() is None  # it does not answer, and that says nothing
    assert watch.look() == Sighting("EXITED", reason=REFUSED)
    assert watch.look() == Sighting("RUNNING", since=50.0, restarts=1, reason=REFUSED)


@pytest.mark.parametrize(("second", "state"), [(True, "RUNNING"), (False, "EXITED"), (None, None)])
def test_alone_the_second_address_is_asked_where_the_first_refuses(second, state):
    answers = {"here": False, "there": second}
    seen = Alone([("here", 1), ("there", 1)], knock=lambda address: answers[address[0]]).look()
    assert (seen.state if seen else None) == state


def test_knocking_at_a_real_port():
    assert accepts(("127.0.0.1", free_port())) is False
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert accepts(server.getsockname()) is True


def test_knocking_at_a_port_whose_backlog_is_full_says_nothing():
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        address = server.getsockname()
        with socket.create_connection(address):
            assert accepts(address, timeout=0.1) is None
