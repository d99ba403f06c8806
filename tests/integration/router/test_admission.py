"""More requests than the instances may have: the request queue, its limits and its errors."""

import json
import threading
import time
from collections.abc import Iterator

import pytest

from tests.integration.router.client import post
from tests.integration.router.disconnects import LEAVES, NOTICED
from tests.integration.router.event_streams import CHUNKED, chunk
from tests.integration.router.instance import Instance, Peer, ReceivedRequest
from tests.integration.router.listed import Gate, Listed, at, listed
from tests.waiting import wait_until

QUEUE, TIMEOUT = 12, 3.0


@pytest.fixture(scope="module")
def site() -> Iterator[Listed]:
    with listed("--queue-size", QUEUE, "--queue-timeout", TIMEOUT, "--policy", "round_robin") as made:
        yield made


def one(a: Instance, *models: str, most: int = 1, **more: object) -> dict[str, object]:
    return at(a, "a", *(models or ("m",)), metadata={"max_concurrency": most}, **more)


def numbers(gate: Gate) -> list[int]:
    return [json.loads(body)["n"] for body in gate.received]


@pytest.fixture(autouse=True)
def nobody_waits(site: Listed) -> Iterator[None]:
    yield
    wait_until(lambda: site.waiting() == 0 and site.router.in_flight() == 0, description="the line to be empty")


def test_no_instance_ever_has_more_than_its_max_concurrency(site: Listed, a: Instance, b: Instance):
    gates = Gate(pause=0.005), Gate(pause=0.005)
    for instance, gate in zip((a, b), gates, strict=True):
        instance.play(gate)
        gate.let(1000)
    site.tell(one(a, most=2), at(b, "b", "m", metadata={"max_concurrency": 3}))
    statuses: list[int] = []

    def work() -> None:
        with site.router.client() as client:
            statuses.extend(client.send(post({"model": "m"})).answer().status for _ in range(15))

    threads = [threading.Thread(target=work) for _ in range(5 + QUEUE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * (15 * len(threads))
    assert [gate.most for gate in gates] == [2, 3]


def test_requests_are_served_in_the_order_of_arrival_over_all_models(site: Listed, a: Instance):
    gate = Gate()
    a.play(gate)
    site.tell(one(a, "m", "x"))
    clients = []
    for n in range(7):
        clients.append(site.ask("mx"[n % 2], n=n))
        wait_until(lambda n=n: site.waiting() == n and gate.received, interval=0.01)
    for client in clients:
        gate.let()
        with client:
            assert client.answer().status == 200
    assert numbers(gate) == list(range(7))


def test_a_full_queue_is_429_with_whole_seconds(site: Listed, a: Instance):
    gate = Gate()
    a.play(gate)
    site.tell(one(a))
    clients = [site.ask("m", n=n) for n in range(1 + QUEUE)]
    wait_until(lambda: site.waiting() == QUEUE, interval=0.01)
    with site.ask("m", n=99) as client:
        answer = client.answer()
        assert (answer.status, answer.error()["type"]) == (429, "rate_limit_error")
        assert "queue is full" in answer.error()["message"]
        assert int(answer.header(b"retry-after")) >= 1  # type: ignore[arg-type]
        gate.let(100)
        for other in clients:
            with other:
                assert other.answer().status == 200
        assert client.send(post({"model": "m", "n": 100})).answer().status == 200, "the connection is kept"
    assert sorted(numbers(gate)) == [*range(1 + QUEUE), 100]


def test_a_wait_ends_with_429_when_all_are_busy_and_503_when_none_is_there(site: Listed, a: Instance, b: Instance):
    gate = Gate()
    a.play(gate)
    site.tell(one(a), at(b, "b", "early", status="starting"), at(b, "c", "late", status="draining"))
    first = site.ask("m", n=0)
    wait_until(lambda: gate.received)
    began = time.monotonic()
    waiting = [site.ask(model, n=1) for model in ("m", "early", "late")]
    answers = []
    for client in waiting:
        with client:
            answers.append(client.answer())
    assert TIMEOUT - 0.2 < time.monotonic() - began < TIMEOUT + 2
    assert [x.status for x in answers] == [429, 503, 503]
    assert int(answers[0].header(b"retry-after")) >= 1  # type: ignore[arg-type]
    assert answers[1].error()["message"] == "No healthy services available for model 'early'"
    gate.let()
    with first:
        assert first.answer().status == 200
    assert numbers(gate) == [0]


@pytest.mark.parametrize("leaves", LEAVES)
def test_a_client_that_leaves_gives_up_its_place_in_the_queue(site: Listed, a: Instance, leaves):
    gate = Gate()
    a.play(gate)
    site.tell(one(a))
    first = site.ask("m", n=0)
    wait_until(lambda: gate.received)
    gone = site.ask("m", n=1)
    wait_until(lambda: site.waiting() == 1, interval=0.01)
    last = site.ask("m", n=2)
    wait_until(lambda: site.waiting() == 2, interval=0.01)
    left = time.monotonic()
    leaves(gone)
    wait_until(lambda: site.waiting() == 1, interval=0.01)
    assert time.monotonic() - left < 2 * NOTICED
    gate.let(2)
    for client in (first, last):
        with client:
            assert client.answer().status == 200
    gone.sock.close()
    assert numbers(gate) == [0, 2]


def test_a_stream_counts_for_the_limit_until_its_client_leaves(site: Listed, a: Instance):
    def stream(peer: Peer, received: ReceivedRequest) -> None:
        peer.send(CHUNKED + chunk(b"data: 1\n\n"))

    a.play(stream)
    site.tell(one(a))
    first = site.ask("m")
    first.head()
    second = site.ask("m")
    wait_until(lambda: site.waiting() == 1, interval=0.01)
    assert len(a.received) == 1
    first.sock.close()
    with second:
        assert second.head()[0] == 200
        assert second.chunk() == b"data: 1\n\n"


@pytest.mark.parametrize("status", ["starting", "draining"])
def test_a_model_that_restarts_holds_its_requests(site: Listed, a: Instance, b: Instance, status: str):
    site.tell(at(a, "a", "m", status=status), at(b, "b", "other"))
    clients = [site.ask("m") for _ in range(5)]
    wait_until(lambda: site.waiting() == 5, interval=0.01)
    assert site.answer("other").status == 200, "others go on"
    site.tell(at(a, "a", "m"), at(b, "b", "other"))
    for client in clients:
        with client:
            assert client.answer().status == 200
    assert len(a.received) == 5


def test_a_model_that_stops_while_requests_wait_is_503_at_once(site: Listed, a: Instance):
    site.tell(at(a, "a", "m", status="starting"))
    with site.ask("m") as client:
        wait_until(lambda: site.waiting() == 1, interval=0.01)
        site.tell(at(a, "a", "m", status="failed"))
        began = time.monotonic()
        assert client.answer().status == 503
        assert time.monotonic() - began < 1


def test_an_unknown_model_is_503_at_once(site: Listed, a: Instance):
    site.tell(at(a, "a", "m", status="starting"))
    began = time.monotonic()
    answer = site.answer("unknown")
    assert time.monotonic() - began < 1
    assert (answer.status, answer.error()["message"]) == (503, "No healthy services available for model 'unknown'")


def test_a_second_attempt_respects_the_limit_of_an_instance(site: Listed, a: Instance, b: Instance):
    gate = Gate()
    a.play(lambda peer, received: False)
    b.play(gate)
    site.tell(at(a, "a", "m"), at(b, "b", "m", "only b", weight=0, metadata={"max_concurrency": 1}))
    with site.ask("only b") as client:
        wait_until(lambda: gate.received)
        assert site.answer("m").status == 502
        gate.let()
        assert client.answer().status == 200
    gate.let()
    assert site.answer("m").status == 200, "b is free"
    assert gate.most == 1
