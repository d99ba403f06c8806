"""The stages and deadlines of a connection, with a clock that the test sets."""

import socket

import gevent
import pytest

from svc.base.errors import HeadTooLarge, RequestTimeout
from svc.perimeter.client_socket import ClientSocket, ClientSockets, polling
from svc.perimeter.connections import ConnectionDeadlines, ConnectionStage

DEADLINES = ConnectionDeadlines(idle=2, request=10, answer=30)


class Pair:
    """Both ends of a connection; `client` is that of the server's side. `now` is its clock."""

    def __init__(self) -> None:
        self.now = 100.0
        ours, self.peer = socket.socketpair()
        self.sockets = ClientSockets(DEADLINES, self.clock)
        self.client = ClientSocket(ours, "10.0.0.1", self.clock)
        self.client.begin_waiting(100)
        self.sockets.open.add(self.client)

    def clock(self) -> float:
        return self.now

    def start(self, work, *args):
        """Let a greenlet do it until it waits."""
        greenlet = gevent.spawn(work, *args)
        gevent.sleep(0)
        return greenlet

    def later(self, seconds: float) -> None:
        self.now += seconds
        self.sockets.sweep()
        gevent.sleep(0)


@pytest.fixture
def pair():
    made = Pair()
    yield made
    made.client.close()
    made.peer.close()


def test_a_silent_connection_ends_after_the_idle_limit(pair):
    reading = pair.start(pair.client.recv, 10)
    pair.later(1.9)
    assert not reading.ready()
    pair.later(0.1)
    assert reading.get(timeout=1) == b""


def test_a_request_has_one_deadline_for_all_its_bytes(pair):
    for _ in range(9):
        pair.peer.send(b"x")
        assert pair.client.recv(10) == b"x"
        pair.now += 1
    reading = pair.start(pair.client.recv, 10)
    assert pair.client.stage is ConnectionStage.REQUEST
    pair.later(0.9)
    assert not reading.ready()
    pair.later(0.1)
    with pytest.raises(RequestTimeout, match="did not arrive within 10 s"):
        reading.get(timeout=1)
    pair.client.refuse(RequestTimeout("late"))
    assert pair.peer.recv(100).startswith(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n")


def test_bytes_that_the_server_has_read_count_as_the_begin_of_a_request(pair):
    pair.client.unread(b"xy")
    assert pair.client.recv(1) == b"x"
    assert pair.client.recv(10) == b"y"
    reading = pair.start(pair.client.recv, 10)
    assert pair.client.stage is ConnectionStage.REQUEST
    pair.later(10)
    with pytest.raises(RequestTimeout):
        reading.get(timeout=1)


def test_the_next_request_has_its_own_deadline(pair):
    pair.peer.send(b"x")
    pair.client.recv(10)
    pair.now += 9
    pair.client.begin_waiting(100)
    reading = pair.start(pair.client.recv, 10)
    assert pair.client.stage is ConnectionStage.IDLE
    pair.later(1.9)
    pair.peer.send(b"y")
    assert reading.get(timeout=1) == b"y"
    reading = pair.start(pair.client.recv, 10)
    pair.later(9.9)
    assert not reading.ready()
    reading.kill()


def test_a_client_that_does_not_read_its_answer_is_cut_off(pair):
    sending = pair.start(pair.client.sendall, b"x" * 10_000_000)
    assert pair.client.stage is ConnectionStage.SENDING
    pair.later(30)
    with pytest.raises(BrokenPipeError):
        sending.get(timeout=1)


def test_a_request_is_refused_once_it_exceeds_its_limit(pair):
    pair.peer.send(b"x" * 101)
    with pytest.raises(HeadTooLarge):
        pair.client.recv(200)


def test_the_answer_to_a_complete_request_has_no_deadline(pair):
    pair.peer.send(b"x")
    pair.client.recv(10)
    pair.client.begin_answering()
    pair.later(10_000)
    pair.client.sendall(b"answer")
    assert pair.peer.recv(10) == b"answer"


def test_a_long_poll_ends_when_its_client_leaves(pair):
    def poll():
        client = ClientSocket(pair.client, "10.0.0.1", pair.clock)
        pair.sockets.open.add(client)
        client.begin_answering()
        with client.polling():
            gevent.sleep(3600)

    polling = pair.start(poll)
    pair.later(10_000)
    assert not polling.ready()
    pair.peer.shutdown(socket.SHUT_WR)
    pair.later(0)
    polling.join(timeout=1)
    assert polling.ready()


def test_a_request_that_arrives_while_shedding_is_not_answered(pair):
    pair.peer.send(b"GET ")
    pair.client.shed()
    assert pair.client.recv(10) == b""


def test_a_connection_is_polling_only_while_its_handler_waits(pair):
    pair.client.begin_answering()
    stages = [pair.client.stage]
    with polling({"gunicorn.socket": pair.client}):
        stages.append(pair.client.stage)
    with polling({}):
        stages.append(pair.client.stage)
    assert stages == [ConnectionStage.BUSY, ConnectionStage.POLLING, ConnectionStage.BUSY]


def test_unread_bytes_are_received_again(pair):
    pair.client.unread(b"abc")
    assert pair.client.recv(2) == b"ab"
    buffer = bytearray(9)
    assert pair.client.recv_into(buffer) == 1
    assert buffer[:1] == b"c"


def test_a_shed_connection_is_not_selected_again(pair):
    reading = pair.start(pair.client.recv, 10)
    pair.client.shed()
    assert pair.client.stage is ConnectionStage.BUSY
    assert reading.get(timeout=1) == b""
