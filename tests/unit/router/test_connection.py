"""What a client's connection waits for, as a full router judges it."""

import socket

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
