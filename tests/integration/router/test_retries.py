"""Which failures send a request to another instance, and what the client hears when all are used up."""

from typing import Any

import pytest

from tests.integration.router.client import post
from tests.integration.router.failing_scripts import closes, resets
from tests.integration.router.instance import Instance, Peer, ReceivedRequest, Script
from tests.integration.router.routers import Router

LOADING = b'HTTP/1.1 503 Loading\r\nContent-Length: 26\r\n\r\n{"error": "Loading model"}'


def loads(peer: Peer, received: ReceivedRequest) -> None:
    peer.send(LOADING)


def test_refused_tries_another(relay: Router, a: Instance):
    retries = relay.get("/stats").json()["retries"]
    with relay.client() as client:
        for _ in range(6):
            assert client.send(post({"model": "dead-a"})).answer().body == b"ok"
    assert len(a.received) == 6
    assert relay.get("/stats").json()["retries"] == retries + 3


@pytest.mark.parametrize("fails", [closes, resets, loads])
def test_an_instance_that_did_not_answer_is_passed_over(relay: Router, a: Instance, b: Instance, fails):
    a.play(fails)
    before = relay.service("a")["error_count"], relay.service("b")["error_count"]
    with relay.client() as client:
        for _ in range(6):
            assert client.send(post({"model": "ab"})).answer().body == b"ok"
    assert (len(a.received), len(b.received)) == (3, 6)
    assert (relay.service("a")["error_count"], relay.service("b")["error_count"]) == (before[0] + 3, before[1])


def test_a_failed_kept_connection_is_replaced_before_another_instance(relay: Router, a: Instance, b: Instance):
    with relay.client() as client:
        assert client.send(post({"model": "a"})).answer().body == b"ok"
        a.script = closes
        assert client.send(post({"model": "ab"})).answer().body == b"ok"
        assert client.send(post({"model": "ab"})).answer().body == b"ok"
    assert len(b.received) == 2


def test_three_attempts_and_no_more(relay: Router, a: Instance, b: Instance, c: Instance):
    for instance in (a, b, c):
        instance.play(loads)
    with relay.client() as client:
        assert client.send(post({"model": "abc"})).answer().status == 503
    assert [len(i.received) for i in (a, b, c)] == [1, 1, 1]


@pytest.mark.parametrize("fails", [closes, resets])
def test_what_an_instance_may_have_processed_is_sent_to_one_other(
    relay: Router, a: Instance, b: Instance, c: Instance, fails: Script
):
    for instance in (a, b, c):
        instance.play(fails)
    with relay.client() as client:
        answer = client.send(post({"model": "abc"})).answer()
    assert (answer.status, answer.error()["code"]) == (502, "bad_gateway")
    assert answer.error()["message"].count("it closed the connection without an answer") == 2
    assert len(a.received) + len(b.received) + len(c.received) == 2


CREATING = [("/v1/files", {}), ("/v1/batches", {}), ("/v1/responses", {"store": True}), ("/v1/load_lora_adapter", {})]


@pytest.mark.parametrize(("path", "fields"), CREATING)
def test_what_creates_something_is_sent_to_no_other_once_it_was_taken(
    relay: Router, a: Instance, b: Instance, path: str, fields: dict[str, Any]
):
    for instance in (a, b):
        instance.play(closes)
    with relay.client() as client:
        assert client.send(post({"model": "ab", **fields}, path=path.encode())).answer().status == 502
    assert len(a.received) + len(b.received) == 1


@pytest.mark.parametrize(("path", "fields"), CREATING)
def test_what_creates_something_is_sent_to_another_if_it_was_not_taken(
    relay: Router, a: Instance, b: Instance, path: str, fields: dict[str, Any]
):
    a.play(loads)
    with relay.client() as client:
        for _ in range(4):
            assert client.send(post({"model": "dead-ab", **fields}, path=path.encode())).answer().body == b"ok"
    assert len(b.received) == 4


def test_a_stored_response_that_is_not_to_be_stored_is_sent_to_another(relay: Router, a: Instance, b: Instance):
    a.play(closes)
    with relay.client() as client:
        for _ in range(2):
            stored = post({"model": "ab", "store": False}, path=b"/v1/responses")
            assert client.send(stored).answer().body == b"ok"


def test_none_is_tried_twice(relay: Router, a: Instance):
    a.play(closes)
    with relay.client() as client:
        assert client.send(post({"model": "a"})).answer().status == 502
        assert client.send(post({"model": "dead-a"})).answer().status == 502
    assert len(a.received) == 2


def test_the_503_of_the_last_instance_is_passed_on(relay: Router, a: Instance, b: Instance):
    for instance in (a, b):
        instance.play(loads)
    with relay.client() as client:
        for model in ("a", "ab"):
            answer = client.send(post({"model": model})).answer()
            assert (answer.status, answer.reason, answer.body) == (503, b"Loading", b'{"error": "Loading model"}')
            assert answer.header(b"x-request-id")


def test_after_the_first_byte_there_is_no_other_try(relay: Router, a: Instance, b: Instance):
    def half(peer: Peer, received: ReceivedRequest) -> bool:
        peer.send(b"H")
        return False

    for instance in (a, b):
        instance.play(half)
    with relay.client() as client:
        assert client.send(post({"model": "ab"})).answer().status == 502
    assert len(a.received) + len(b.received) == 1


def test_the_whole_body_is_sent_again(relay: Router, a: Instance, b: Instance):
    body = b'{"model": "ab", "x": "%b"}' % (b"y" * 3_000_000)
    a.play(closes)
    with relay.client() as client:
        for _ in range(2):
            assert client.send(post(body)).answer().body == b"ok"
    assert [h.body == body for h in b.received] == [True, True]
