"""The time that a request may take in all."""

from collections.abc import Iterator

import pytest

from tests.integration.router.client import post
from tests.integration.router.event_streams import CHUNKED, chunk, last_error
from tests.integration.router.instance import Instance
from tests.integration.router.routers import Router, router, service, static
from tests.waiting import wait_until

ASK = post({"model": "m"})


@pytest.fixture(scope="module")
def silent() -> Iterator[Instance]:
    made = Instance()
    yield made
    made.close()


@pytest.fixture(scope="module")
def own(silent: Instance, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    path = static(tmp_path_factory.mktemp("timeouts") / "static.json", [service("m", silent.port, "m")])
    with router("--static-services", path, "--proxy-timeout", 0.5) as running:
        yield running


def test_no_answer_in_time_is_504(own: Router, silent: Instance):
    silent.play(lambda peer, received: None)
    with own.client() as client:
        answer = client.send(ASK).answer()
        assert (answer.status, answer.error()["code"]) == (504, "gateway_timeout")
        assert answer.header(b"x-request-id")
        silent.play()
        assert client.send(ASK).answer().status == 200
    assert own.in_flight() == 0


def test_a_stream_that_takes_too_long_ends_with_the_error_event(own: Router, silent: Instance):
    silent.play(lambda peer, received: peer.send(CHUNKED + chunk(b"data: 1\n\nda")))
    with own.client() as client:
        body = client.send(ASK).answer().body
        assert body.startswith(b"data: 1\n\n")
        assert last_error(body)["code"] == "gateway_timeout"
        silent.play()
        assert client.send(ASK).answer().status == 200


def test_a_body_that_takes_too_long_is_cut_short(own: Router, silent: Instance):
    silent.play(lambda peer, received: peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n" + b"x" * 70_000))
    with own.client() as client:
        client.send(ASK).head()
        assert client.all() == b"x" * 70_000
    assert own.in_flight() == 0


def test_a_short_body_that_takes_too_long_is_504(own: Router, silent: Instance):
    silent.play(lambda peer, received: peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"))
    with own.client() as client:
        answer = client.send(ASK).answer()
        assert answer.status == 504
        assert answer.error()["message"] == "no whole answer within 0.5 s"
    assert own.in_flight() == 0


def test_a_client_that_does_not_read_is_closed(own: Router, silent: Instance):
    silent.play(
        lambda peer, received: peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 90000000\r\n\r\n" + b"x" * 90_000_000)
    )
    with own.client() as client:
        client.send(ASK).head()
        wait_until(lambda: own.in_flight() == 0, timeout=5)
