"""What a client's connection waits for, as a full router judges it."""

import socket
import time

import pytest

from svc.perimeter.connections import Stage
from svc.router.connection import READ_TIMEOUT, Connection
from tests.unit.router.made import state


@pytest.fixture
def connection():
    ours, theirs = socket.socketpair()
    made = Connection(state(), lambda environ, start: [], ours, "10.0.0.1")
    yield made
    made.close()
    theirs.close()


def test_its_stage_is_that_of_its_request(connection):
    assert connection.stage is Stage.SILENT
    connection.idle_since += 1
    assert (connection.stage, connection.since) == (Stage.IDLE, connection.idle_since)
    connection.idle, connection.deadline = False, 160.0
    assert (connection.stage, connection.since) == (Stage.REQUEST, 160.0 - READ_TIMEOUT)
    connection.watched = True
    assert connection.stage is Stage.BUSY


def test_a_client_that_takes_nothing_is_no_longer_busy(connection):
    connection._state.now = 100.0
    connection.watched = True
    connection._note_blocked(True)
    assert (connection.stage, connection.since) == (Stage.SENDING, 100.0)
    connection._note_blocked(False)
    assert connection.stage is Stage.BUSY


def test_one_that_is_being_closed_is_not_closed_again(connection):
    connection.shed()
    assert connection.stage is Stage.BUSY
    assert connection.closing


def test_pipelined_requests_take_turns_with_other_connections(monkeypatch):
    turns = []
    monkeypatch.setattr(time, "sleep", turns.append)
    ours, theirs = socket.socketpair()
    theirs.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3)
    theirs.shutdown(socket.SHUT_WR)

    def app(environ, start):
        start("200 OK", [])
        return [b"x"]

    made = Connection(state(), app, ours, "10.0.0.1")
    made.serve()
    made.close()
    answers = b"".join(iter(lambda: theirs.recv(65536), b""))
    theirs.close()
    assert answers.count(b"200 OK") == 3
    assert turns == [0, 0], "one after each request that another waits behind"


def test_a_body_that_waits_for_memory_has_no_less_time_to_arrive(monkeypatch):
    """Its deadline moves by the time of the wait, and the next wait is shorter by as much."""
    ours, theirs = socket.socketpair()
    made = Connection(state(), lambda environ, start: [], ours, "10.0.0.1")
    waits = []

    def wait(size, deadline, on_wait):
        waits.append(deadline - made._state.now)
        made._state.now += 10

    made._reader.feed(b"POST /v1/messages HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
    made.idle, made.deadline = False, made._state.now + READ_TIMEOUT
    deadline = made.deadline
    monkeypatch.setattr("svc.router.exchange.Exchange.buffer", lambda self, *args: wait(*args))
    made._admit_body()
    made._admit_body()
    made.close()
    theirs.close()
    assert made.deadline == deadline + 20
    assert waits == [READ_TIMEOUT, READ_TIMEOUT - 10]
