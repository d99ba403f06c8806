"""Clients that leave: noticed while nothing flows, the instance told at once, every count released."""

import threading
import time
from collections.abc import Iterator

import pytest

from tests.integration.fakes import Mock, mock
from tests.integration.router.client import post
from tests.integration.router.disconnects import LEAVES, NOTICED, half_closes
from tests.integration.router.instance import OK, Instance, Peer, ReceivedRequest
from tests.integration.router.routers import Router, router, service, static
from tests.waiting import wait_until

ASK = post({"model": "m", "stream": True, "messages": [{"role": "user", "content": "hello"}]})


@pytest.fixture(scope="module")
def backend() -> Iterator[Mock]:
    with mock("m", ["m"]) as made:
        yield made


@pytest.fixture(scope="module")
def own(backend: Mock, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    path = static(tmp_path_factory.mktemp("gone") / "static.json", [service("m", backend.port, "m")])
    with router("--static-services", path) as running:
        yield running


@pytest.mark.parametrize("leaves", LEAVES)
@pytest.mark.parametrize("flags", [{"hang": True}, {"hang_after": 2}, {"first_token_delay": 60}])
def test_a_client_that_leaves_while_nothing_flows_ends_the_work(own: Router, backend: Mock, flags, leaves):
    backend.behave(hang=False, hang_after=None, first_token_delay=0)
    backend.behave(**flags)
    before = backend.stats()["cut_by_client"]
    client = own.client().send(ASK)
    wait_until(lambda: backend.stats()["open_requests"] == 1, description="the request to reach the mock")
    if "hang_after" in flags:
        client.until(b" heard:")  # the second event's
    left = time.monotonic()
    leaves(client)
    wait_until(lambda: backend.stats()["cut_by_client"] == before + 1, description="the mock to be told", interval=0.01)
    assert time.monotonic() - left < 2 * NOTICED
    wait_until(lambda: own.in_flight() == 0, description="the counts to be released")
    assert own.service("m")["error_count"] == 0
    client.sock.close()


def test_an_instance_that_answers_after_the_client_left_is_not_blamed(relay: Router, a: Instance):
    go = threading.Event()

    def script(peer: Peer, received: ReceivedRequest) -> None:
        go.wait(5)
        peer.send(OK)

    a.play(script)
    before = relay.service("a")["error_count"]
    with relay.client() as client:
        client.send(post({"model": "a"}))
        wait_until(lambda: a.received)
    wait_until(
        lambda: relay.in_flight() == 0,
        timeout=2,
        description="the count to be released although the instance is silent",
    )
    go.set()
    a.play()
    with relay.client() as client:
        assert client.send(post({"model": "a"})).answer().status == 200
    assert relay.service("a")["error_count"] == before


def test_a_reader_that_stops_and_leaves_ends_the_work(relay: Router, a: Instance):
    """The router hangs in sending to it."""

    def script(peer: Peer, received: ReceivedRequest) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:  # until the router closes
            peer.send(b"%x\r\n%b\r\n" % (100_000, b"x" * 100_000))

    a.play(script)
    client = relay.client().send(post({"model": "a"}))
    client.head()
    threading.Event().wait(0.3)
    half_closes(client)
    wait_until(lambda: relay.in_flight() == 0, timeout=2)
    client.sock.close()


def test_a_client_that_leaves_between_attempts_gets_no_other(relay: Router, a: Instance, b: Instance):
    client = relay.client()

    def script(peer: Peer, received: ReceivedRequest) -> bool:
        client.sock.close()
        threading.Event().wait(2 * NOTICED)
        return False

    for instance in (a, b):
        instance.play(script)
    client.send(post({"model": "ab"}))
    wait_until(lambda: a.received or b.received)
    wait_until(lambda: relay.in_flight() == 0)
    threading.Event().wait(0.5)
    assert len(a.received) + len(b.received) == 1


def test_a_request_and_a_close_at_once_may_be_answered(relay: Router, a: Instance):
    """As `printf ... | nc`: what is quick is answered, and nothing stays open."""
    with relay.client() as client:
        client.send(post({"model": "a"}))
        half_closes(client)
        client.all()
    wait_until(lambda: relay.in_flight() == 0)


def test_clients_that_vanish_at_any_moment_leave_nothing_open(own: Router, backend: Mock):
    backend.behave(hang=False, hang_after=None, first_token_delay=0.02, token_delay=0.01, tokens=5)

    def vanish(n: int) -> None:
        with own.client() as client:
            client.send(ASK[: len(ASK) * n // 60] if n < 60 else ASK)
            threading.Event().wait(n % 17 / 100)

    threads = [threading.Thread(target=vanish, args=(n,)) for n in range(240)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until(lambda: own.in_flight() == 0)
    wait_until(lambda: backend.stats()["open_requests"] == 0)
    assert "Traceback" not in own.output()
