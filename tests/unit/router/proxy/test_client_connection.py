"""What a client's connection waits for, as a full router judges it."""

import socket
import time

import pytest

from svc.perimeter.connections import ConnectionStage
from svc.router.proxy.arriving_body import READ_TIMEOUT_SECONDS
from svc.router.proxy.body_buffers import Allocation
from svc.router.proxy.client_connection import ClientConnection
from svc.router.proxy.exchange import Exchange
from svc.router.proxy.swept_connection import MAX_UNREAD_BYTES, MAX_UNREAD_SECONDS
from svc.router.wsgi import WsgiResponse
from tests.unit.router.examples import request, state


@pytest.fixture
def pair():
    """A connection, and its client's end."""
    ours, theirs = socket.socketpair()
    connection = ClientConnection(state(), lambda request, address: WsgiResponse("200 OK", []), ours, "10.0.0.1")
    yield connection, theirs
    connection.close()
    theirs.close()


@pytest.fixture
def connection(pair):
    return pair[0]


def test_its_stage_is_that_of_its_request(connection):
    assert connection.stage is ConnectionStage.SILENT
    connection.idle_since += 1
    assert (connection.stage, connection.since) == (ConnectionStage.IDLE, connection.idle_since)
    connection.idle, connection.deadline = False, 160.0
    assert (connection.stage, connection.since) == (ConnectionStage.REQUEST, 160.0 - READ_TIMEOUT_SECONDS)
    connection.streaming = True
    assert connection.stage is ConnectionStage.BUSY


def test_a_client_that_takes_nothing_is_no_longer_busy(connection):
    connection._state.now = 100.0
    connection.streaming = True
    connection._note_blocked(True)
    assert (connection.stage, connection.since) == (ConnectionStage.SENDING, 100.0)
    connection._note_blocked(False)
    assert connection.stage is ConnectionStage.BUSY


def test_one_that_is_being_closed_is_not_closed_again(connection):
    connection.shed()
    assert connection.stage is ConnectionStage.BUSY
    assert connection.closing


def test_pipelined_requests_take_turns_with_other_connections(monkeypatch):
    turns = []
    monkeypatch.setattr(time, "sleep", turns.append)
    ours, theirs = socket.socketpair()
    theirs.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3)
    theirs.shutdown(socket.SHUT_WR)

    def answer(request, address):
        return WsgiResponse("200 OK", [], b"x")

    connection = ClientConnection(state(), answer, ours, "10.0.0.1")
    connection.serve()
    connection.close()
    answers = b"".join(iter(lambda: theirs.recv(65536), b""))
    theirs.close()
    assert answers.count(b"200 OK") == 3
    assert turns == [0, 0], "one after each request that another waits behind"


def test_a_body_that_waits_for_memory_has_no_less_time_to_arrive(pair, monkeypatch):
    """Its deadline moves by the time of the wait, and the next wait is shorter by as much."""
    connection, waits = pair[0], []

    def wait(allocation, size, deadline, on_wait):
        waits.append(deadline - connection._state.now)
        connection._state.now += 10

    connection._reader.feed(b"POST /v1/messages HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
    connection.idle, connection.deadline = False, connection._state.now + READ_TIMEOUT_SECONDS
    deadline = connection.deadline
    monkeypatch.setattr(Allocation, "grow", wait)
    connection._admit_body()
    connection._admit_body()
    assert connection.deadline == deadline + 20
    assert waits == [READ_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS - 10]


def test_a_client_that_keeps_sending_behind_its_request_is_cut_off(pair):
    connection, client = pair
    connection.exchange = Exchange(connection._state, request(), "")
    client.sendall(b"x" * (MAX_UNREAD_BYTES + 1))
    connection.limit_unread(100.0)
    connection.limit_unread(100.0 + MAX_UNREAD_SECONDS - 1)
    assert not connection.exchange.interruption
    connection.limit_unread(100.0 + MAX_UNREAD_SECONDS)
    assert connection.exchange.interruption == "client"
    assert connection.closing


def test_a_tunnel_or_a_few_unread_bytes_are_not_cut_off(pair):
    connection, client = pair
    client.sendall(b"x" * MAX_UNREAD_BYTES)
    connection.exchange = Exchange(connection._state, request(), "")
    for now in (100.0, 200.0):
        connection.limit_unread(now)
    client.sendall(b"x")
    connection.exchange.is_tunnel = True
    for now in (300.0, 400.0):
        connection.limit_unread(now)
    assert not connection.closing
