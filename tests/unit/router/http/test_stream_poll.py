import gc
import os
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from gevent import get_hub
from gevent.socket import socket as GeventSocket
from gevent.socket import socketpair

from svc.router.http.sockets import pump, sender, unread_bytes
from svc.router.http.stream_poll import CALM_RUNS, MAX_EVENTS, MAX_LOOP_EVENTS, StreamPoll

Pair = tuple[GeventSocket, GeventSocket]


@pytest.fixture
def poll() -> Iterator[StreamPoll]:
    poll = StreamPoll()
    yield poll
    poll.close()


@pytest.fixture
def pairs() -> Iterator[list[Pair]]:
    """Connections, more than are read at a time: our end, and the instance's."""
    pairs = [socketpair() for _ in range(MAX_LOOP_EVENTS + 2 * MAX_EVENTS)]
    yield pairs
    for ours, theirs in pairs:
        ours.close()
        theirs.close()


def wait_until(condition: Callable[[], bool]) -> None:
    """Let the loop run until the condition is true."""
    with gevent.Timeout(10):
        while not condition():
            gevent.sleep(0.001)


def reader(sock: GeventSocket, received: list[Any]) -> Any:
    return lambda: received.append(sock._sock.recv(100))


def test_whatever_is_ready_is_read_until_it_is_paused_or_removed(poll: StreamPoll, pairs: list[Pair]):
    received: list[Any] = []
    for ours, theirs in pairs:
        poll.start(ours.fileno(), reader(ours, received), lambda: None)
        theirs.send(b"1")
    wait_until(lambda: len(received) == len(pairs))
    assert set(received) == {b"1"}
    poll.pause(pairs[0][0].fileno())
    poll.remove(pairs[1][0].fileno())
    for _, theirs in pairs:
        theirs.send(b"2")
    wait_until(lambda: len(received) == 2 * len(pairs) - 2)
    gevent.sleep(0.01)
    assert received[len(pairs) :] == [b"2"] * (len(pairs) - 2)
    for ours, _ in pairs[:2]:
        poll.start(ours.fileno(), reader(ours, received), reader(ours, received))
    wait_until(lambda: len(received) == 2 * len(pairs))
    assert received[-2:] == [b"2"] * 2


def test_a_new_request_waits_behind_a_bounded_number_of_events(poll: StreamPoll, pairs: list[Pair]):
    order: list[str] = []
    client, router = socketpair()
    request = get_hub().loop.io(router.fileno(), 1)
    request.start(lambda: (order.append("request"), request.stop()))

    def event(sock: GeventSocket) -> None:
        if not order:
            client.send(b"GET")
        order.append("event")
        sock._sock.recv(100)

    for ours, theirs in pairs:
        poll.start(ours.fileno(), lambda ours=ours: event(ours), lambda: None)
        theirs.send(b"event")
    wait_until(lambda: len(order) == len(pairs) + 1)
    assert order.index("request") <= MAX_EVENTS
    request.close()
    client.close()
    router.close()


def test_a_stream_leaves_if_few_have_been_ready_for_a_while(poll: StreamPoll, pairs: list[Pair]):
    left: list[int] = []
    runs: list[int] = []
    for ours, _ in pairs:
        descriptor = ours.fileno()
        poll.start(descriptor, lambda: runs.append(1), lambda d=descriptor: (left.append(d), poll.remove(d)))
    pairs[7][1].send(b"x")  # is never read, and so found again and again
    wait_until(lambda: bool(left))
    assert left == [pairs[7][0].fileno()]
    assert len(runs) == CALM_RUNS


def test_the_descriptor_of_a_removed_stream_can_be_another_one(poll: StreamPoll):
    received: list[Any] = []
    for number in range(3):
        ours, theirs = socketpair()
        poll.start(ours.fileno(), reader(ours, received), reader(ours, received))
        theirs.send(b"%d" % number)
        wait_until(lambda number=number: len(received) == number + 1)
        poll.remove(ours.fileno())
        ours.close()
        theirs.close()
    assert received == [b"0", b"1", b"2"]


# With `pump`.


class Passing:
    """Passes everything but the word that ends a stream. A test can see whether something keeps it in memory."""

    def passes(self, data: bytes) -> bool:
        return data != b"end"


def relay(source: GeventSocket, sink: GeventSocket, poll: StreamPoll) -> tuple[gevent.Greenlet, Any]:
    passing = Passing()

    def copy() -> bytes:
        receive = pump(source, sink, passing.passes, sender(sink), lambda: poll)
        assert receive is not None
        return receive()

    return gevent.spawn(copy), weakref.ref(passing)


def test_many_streams_reach_their_clients_whole_and_leave_no_garbage(poll: StreamPoll, pairs: list[Pair]):
    clients = [socketpair() for _ in pairs]
    streams = [relay(ours, sink, poll) for (ours, _), (sink, _) in zip(pairs, clients, strict=True)]
    gevent.sleep(0)
    sent = [b""] * len(pairs)
    for number in range(20):
        for index in range(0, len(pairs), 1 if number % 4 else 50):  # many are ready at once, then few, again and again
            event = b"%d of %d;" % (number, index)
            sent[index] += event
            pairs[index][1].send(event)
        gevent.sleep(0.01)
    wait_until(lambda: all(unread_bytes(client) == len(data) for (_, client), data in zip(clients, sent, strict=True)))
    polled = len(poll._registered)
    for _, theirs in pairs:
        theirs.send(b"end")
    gevent.joinall([greenlet for greenlet, _ in streams], timeout=10)
    assert [greenlet.value for greenlet, _ in streams] == [b"end"] * len(pairs)
    assert [client.recv(10_000) for _, client in clients] == sent
    assert polled == len(pairs) - MAX_LOOP_EVENTS
    gc.disable()
    try:
        seen = [passing for _, passing in streams]
        streams.clear()
        gevent.sleep(0)
        assert [passing() for passing in seen] == [None] * len(seen)
    finally:
        gc.enable()
    for pair in clients:
        for sock in pair:
            sock.close()


def test_a_client_that_reads_nothing_gets_the_rest_when_it_reads(poll: StreamPoll, pairs: list[Pair]):
    (ours, theirs), (sink, client) = pairs[:2]
    greenlet, _ = relay(ours, sink, poll)
    data = os.urandom(1 << 20)
    sending = gevent.spawn(theirs.sendall, data)
    gevent.sleep(0.01)
    received = b""
    while len(received) < len(data):
        received += client.recv(1 << 20)
    sending.join()
    theirs.send(b"end")
    assert greenlet.get(timeout=10) == b"end"
    assert received == data
