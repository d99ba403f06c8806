"""Process snapshots from supervisord and from a port, and the event between two of them."""

import logging
import socket
from types import SimpleNamespace

import pytest

from svc.babysitter.instance_watch import (
    PORT_REFUSED,
    PortWatch,
    ProcessSnapshot,
    SupervisordWatch,
    accepts_connection,
    event_between,
)
from svc.babysitter.lifecycle import LifecycleEvent
from svc.base.errors import Unavailable
from tests.waiting import free_port


@pytest.mark.parametrize(
    ("state", "event"),
    [
        ("STARTING", LifecycleEvent.SPAWNED),
        ("RUNNING", LifecycleEvent.SPAWNED),
        ("BACKOFF", LifecycleEvent.EXITED),
        ("EXITED", LifecycleEvent.EXITED),
        ("STOPPING", LifecycleEvent.STOPPING),
        ("STOPPED", LifecycleEvent.STOPPED),
    ],
)
def test_the_first_poll_gives_the_event_of_its_state(state, event):
    assert event_between(None, ProcessSnapshot(state)) is event


def test_fatal_is_a_failure_only_when_restarts_are_used_up():
    backoff = ProcessSnapshot("BACKOFF", restarts=3)
    assert event_between(backoff, ProcessSnapshot("FATAL", restarts=3, failed=True)) is LifecycleEvent.GAVE_UP
    assert event_between(backoff, ProcessSnapshot("FATAL", restarts=1)) is None  # supervisord shuts down


@pytest.mark.parametrize(("before", "now"), [("STARTING", "RUNNING"), ("EXITED", "BACKOFF"), ("RUNNING", "RUNNING")])
def test_an_equivalent_state_of_the_same_process_is_no_event(before, now):
    assert event_between(ProcessSnapshot(before, 7), ProcessSnapshot(now, 7)) is None


def test_another_pid_is_a_new_process_even_if_the_exit_was_missed():
    assert event_between(ProcessSnapshot("RUNNING", 7), ProcessSnapshot("RUNNING", 8)) is LifecycleEvent.SPAWNED


class FakeSupervisord:
    """supervisord with one program, whose answers the test sets."""

    def __init__(self):
        self.state, self.pid, self.count, self.requests, self.away = "RUNNING", 7, (0, False), 0, False

    def process(self, name):
        if self.away:
            raise Unavailable("no supervisord answers")
        assert name == "qwen:server"
        return SimpleNamespace(state=self.state, pid=self.pid, start=1000)

    def restarts(self):
        self.requests += 1
        restarts, failed = self.count
        return {"qwen:server": SimpleNamespace(restarts=restarts, max_restarts=3, failed=failed, reason="why")}


def test_the_restart_count_is_requested_only_when_the_process_changed():
    supervisord = FakeSupervisord()
    watch = SupervisordWatch(supervisord, "qwen:server")
    assert watch.poll() == watch.poll() == ProcessSnapshot("RUNNING", 7, 1000, reason="why")
    assert supervisord.requests == 1
    supervisord.pid, supervisord.count = 8, (1, False)
    assert watch.poll() == ProcessSnapshot("RUNNING", 8, 1000, restarts=1, reason="why")


def test_a_failure_that_is_reported_after_the_state_is_seen():
    supervisord = FakeSupervisord()
    watch = SupervisordWatch(supervisord, "qwen:server")
    supervisord.state = "FATAL"
    assert not watch.poll().failed
    supervisord.count = (3, True)
    assert watch.poll() == ProcessSnapshot("FATAL", 7, 1000, restarts=3, failed=True, reason="why")


def test_an_unreachable_supervisord_and_its_return_are_logged_once(caplog):
    caplog.set_level(logging.INFO)
    supervisord = FakeSupervisord()
    watch = SupervisordWatch(supervisord, "qwen:server")
    supervisord.away = True
    assert [watch.poll() for _ in range(5)] == [None] * 5
    supervisord.away = False
    assert watch.poll() is not None
    assert [r.getMessage() for r in caplog.records] == [
        "cannot see qwen:server: no supervisord answers",
        "qwen:server is seen again",
    ]


def test_a_port_shows_whether_the_process_runs_and_counts_its_restarts():
    answers = iter([False, True, None, False, True])
    watch = PortWatch([("127.0.0.1", 1)], connect=lambda _: next(answers), clock=lambda: 50.0)
    assert watch.poll() == ProcessSnapshot("EXITED")
    assert watch.poll() == ProcessSnapshot("RUNNING", since=50.0)
    assert watch.poll() is None  # no answer: neither running nor ended
    assert watch.poll() == ProcessSnapshot("EXITED", reason=PORT_REFUSED)
    assert watch.poll() == ProcessSnapshot("RUNNING", since=50.0, restarts=1, reason=PORT_REFUSED)


@pytest.mark.parametrize(("second", "state"), [(True, "RUNNING"), (False, "EXITED"), (None, None)])
def test_the_second_address_is_tried_when_the_first_refuses(second, state):
    answers = {"here": False, "there": second}
    snapshot = PortWatch([("here", 1), ("there", 1)], connect=lambda address: answers[address[0]]).poll()
    assert (snapshot.state if snapshot else None) == state


def test_a_real_port_accepts_or_refuses_connections():
    assert accepts_connection(("127.0.0.1", free_port())) is False
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert accepts_connection(server.getsockname()) is True


def test_a_port_whose_backlog_is_full_is_unknown():
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        address = server.getsockname()
        with socket.create_connection(address):
            assert accepts_connection(address, timeout=0.1) is None
