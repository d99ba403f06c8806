"""Answers as instances send them, and what of them reaches the client."""

import hashlib
import os
import threading

import pytest

from tests.integration.router.client import post
from tests.integration.router.instance import OK, Instance, Peer, ReceivedRequest
from tests.integration.router.routers import WORKERS, Router
from tests.waiting import wait_until

ASK = post({"model": "a"})


def says(*parts: bytes, then: object = None):
    def script(peer: Peer, received: ReceivedRequest) -> object:
        for part in parts:
            peer.send(part)
        return then

    return script


def test_status_reason_headers_and_body_pass_as_they_came(relay: Router, a: Instance):
    a.play(
        says(
            b"HTTP/1.1 418 I'm a Teapot\r\nX-One: 1\r\nx-one: 2\r\nX-Empty:\r\nLink: a=1\r\nLink: b=2\r\n"
            b"Content-Type: application/json\r\nContent-Length: 3\r\nServer: uvicorn\r\n\r\nabc"
        )
    )
    with relay.client() as client:
        answer = client.send(ASK).answer()
    assert (answer.status, answer.reason, answer.body) == (418, b"I'm a Teapot", b"abc")
    assert [h for h in answer.headers if h[0] != b"x-request-id"] == [
        (b"X-One", b"1"),
        (b"x-one", b"2"),
        (b"X-Empty", b""),
        (b"Link", b"a=1"),
        (b"Link", b"b=2"),
        (b"Content-Type", b"application/json"),
        (b"Server", b"uvicorn"),
        (b"Content-Length", b"3"),
    ]


def test_hop_by_hop_headers_are_not_passed_on(relay: Router, a: Instance):
    a.play(
        says(
            b"HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: timeout=5\r\n"
            b"Proxy-Authenticate: Basic\r\nProxy-Connection: keep-alive\r\nUpgrade: h2c\r\nTE: x\r\nTrailer: X-Sum\r\n"
            b"Content-Type: application/json\r\nX-Kept: 1\r\nContent-Length: 2\r\n\r\nok"
        )
    )
    with relay.client() as client:
        answer = client.send(ASK).answer()
        kept = {b"content-type", b"x-kept", b"content-length", b"x-request-id"}
        assert {name.lower() for name, _ in answer.headers} == kept
        assert client.send(ASK).answer().status == 200
    assert a.connections == 1


def test_chunks_arrive_without_their_extensions_and_trailers(relay: Router, a: Instance):
    a.play(
        says(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3;a=b\r\nabc\r\n",
            b"4\r\ndefg\r\n0\r\nX-Sum: 9\r\n\r\n",
        )
    )
    with relay.client() as client:
        for _ in range(3):
            answer = client.send(ASK).answer()
            assert answer.body == b"abcdefg"
            assert answer.header(b"x-sum") is None
    assert a.connections == 1


def test_an_answer_that_ends_with_its_connection_is_whole(relay: Router, a: Instance):
    a.play(says(b"HTTP/1.1 200 OK\r\n\r\nabc", b"def", then=False))
    with relay.client() as client:
        for _ in range(2):
            assert client.send(ASK).answer().body == b"abcdef"
    assert a.connections == 2


def test_an_http_1_0_instance_serves(relay: Router, a: Instance):
    a.play(says(b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", then=False))
    with relay.client() as client:
        for _ in range(2):
            assert client.send(ASK).answer().body == b"abc"


@pytest.mark.parametrize(
    ("told", "length"),
    [(b"Content-Length: 1234\r\n", b"1234"), (b"Transfer-Encoding: chunked\r\n", None), (b"", None)],
)
def test_the_answer_to_head_has_no_body(
    relay: Router, a: Instance, b: Instance, c: Instance, told: bytes, length: bytes | None
):
    for instance in (a, b, c):
        instance.play(says(b"HTTP/1.1 200 OK\r\nX-Kept: 1\r\n%b\r\n" % told))
    with relay.client() as client:
        for _ in range(2):
            answer = client.send(b"HEAD /v1/files HTTP/1.1\r\nHost: r\r\n\r\n").answer(head_only=True)
            assert (answer.status, answer.header(b"content-length"), answer.header(b"x-kept")) == (200, length, b"1")
            assert answer.header(b"transfer-encoding") is None


@pytest.mark.parametrize(
    ("head", "length"),
    [
        (b"204 No Content\r\n", None),
        (b"204 No Content\r\nContent-Length: 0\r\n", None),
        (b"304 Not Modified\r\nContent-Length: 99\r\nETag: x\r\n", b"99"),
    ],
)
def test_answers_without_a_body_end_at_their_head(relay: Router, a: Instance, head: bytes, length: bytes | None):
    a.play(says(b"HTTP/1.1 %b\r\n" % head))
    with relay.client() as client:
        for _ in range(2):
            answer = client.send(ASK).answer()
            assert answer.status == int(head[:3])
            assert answer.header(b"content-length") == length
            assert answer.header(b"transfer-encoding") is None
    assert a.connections == 1


def test_interim_responses_are_dropped_with_their_headers(relay: Router, a: Instance):
    a.play(
        says(
            b"HTTP/1.1 100 Continue\r\n\r\n",
            b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\nConnection: X-Kept\r\nContent-Length: 9\r\n\r\n",
            b"HTTP/1.1 201 Made\r\nX-Kept: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        )
    )
    with relay.client() as client:
        for _ in range(2):
            answer = client.send(ASK).answer()
            assert (answer.status, answer.reason, answer.body) == (201, b"Made", b"ok")
            assert answer.header(b"x-kept") == b"1"
            assert answer.header(b"link") is None
    assert a.connections == 1


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 502, 504])
def test_the_instances_own_errors_pass_as_they_are(relay: Router, a: Instance, b: Instance, status: int):
    error = b'{"error": {"message": "mine"}}'
    for instance in (a, b):
        instance.play(
            says(b"HTTP/1.1 %d Mine\r\nRetry-After: 7\r\nContent-Length: %d\r\n\r\n%b" % (status, len(error), error))
        )
    with relay.client() as client:
        answer = client.send(post({"model": "ab"})).answer()
    assert (answer.status, answer.reason, answer.header(b"retry-after")) == (status, b"Mine", b"7")
    assert answer.body == error
    assert len(a.received) + len(b.received) == 1


@pytest.mark.parametrize("framing", ["sized", "chunked", "until close"])
def test_a_big_answer_reaches_a_slow_reader_intact(relay: Router, a: Instance, framing: str):
    body = os.urandom(20_000_000)
    parts = [body[at : at + 700_000] for at in range(0, len(body), 700_000)]
    if framing == "sized":
        a.play(says(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body), *parts))
    elif framing == "chunked":
        chunks = [b"%x\r\n%b\r\n" % (len(p), p) for p in parts]
        a.play(says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *chunks, b"0\r\n\r\n"))
    else:
        a.play(says(b"HTTP/1.1 200 OK\r\n\r\n", *parts, then=False))
    with relay.client() as client:
        client.send(ASK)
        threading.Event().wait(0.3)  # every buffer on the way is full by now
        assert hashlib.sha256(client.answer().body).digest() == hashlib.sha256(body).digest()


def test_connections_to_an_instance_are_used_again(relay: Router, a: Instance):
    for _ in range(3):
        with relay.client() as client:
            for _ in range(5):
                assert client.send(ASK).answer().status == 200
    assert a.connections <= WORKERS


def test_a_connection_with_connection_close_is_not_used_again(relay: Router, a: Instance):
    a.play(says(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", then=False))
    with relay.client() as client:
        for _ in range(3):
            answer = client.send(ASK).answer()
            assert (answer.status, answer.header(b"connection")) == (200, None)
    assert a.connections == 3


def test_a_connection_closed_while_idle_is_replaced_without_a_failure(relay: Router, a: Instance):
    a.play(says(OK, then=False))  # keeps it open as far as it says, and closes
    before = relay.service("a")
    with relay.client() as client:
        for _ in range(20):
            assert client.send(ASK).answer().body == b"ok"
    after = relay.service("a")
    assert after["request_count"] - before["request_count"] == 20
    assert after["error_count"] == before["error_count"]
    assert len(a.received) == 20


def test_an_unrequested_response_reaches_no_client(relay: Router, a: Instance):
    """As servers that say 408 on an idle connection before they close it."""

    def script(peer: Peer, received: ReceivedRequest) -> None:
        peer.send(OK)
        threading.Event().wait(0.2)
        peer.send(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 5\r\n\r\nstale")

    a.play(script)
    with relay.client() as client:
        assert client.send(ASK).answer().body == b"ok"
        threading.Event().wait(0.5)
        a.script = says(OK)
        assert client.send(ASK).answer().body == b"ok"
    assert a.connections == 2


def test_more_than_the_answer_does_not_reach_the_next_client(relay: Router, a: Instance):
    a.play(says(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"))
    with relay.client() as client:
        for _ in range(3):
            assert client.send(ASK).answer().body == b"ok"
    assert a.connections == 3


@pytest.mark.parametrize(
    "sent",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Le",
    ],
)
def test_what_is_no_answer_is_502_and_not_tried_again(relay: Router, a: Instance, b: Instance, sent: bytes):
    for instance in (a, b):
        instance.play(says(sent, then=False))
    with relay.client() as client:
        answer = client.send(post({"model": "ab"})).answer()
        assert (answer.status, answer.error()["code"]) == (502, "bad_gateway")
        assert client.send(b"GET /livez HTTP/1.1\r\nHost: r\r\n\r\n").answer().status == 200
    assert len(a.received) + len(b.received) == 1


HALF = b"x" * 70_000  # more than the router holds back


@pytest.mark.parametrize(
    "sent", [b"Content-Length: 90000\r\n\r\n" + HALF, b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"]
)
def test_a_response_that_breaks_off_is_truncated_for_the_client_too(relay: Router, a: Instance, sent: bytes):
    a.play(says(b"HTTP/1.1 200 OK\r\n%b" % sent, then=False))
    before = relay.service("a")["error_count"]
    with relay.client() as client:
        client.send(ASK)
        status, _, headers = client.head()
        assert status == 200
        rest = client.all()
        assert rest in (HALF, b"3\r\nabc\r\n")  # neither 90,000 bytes nor a last chunk
    assert wait_until(lambda: relay.service("a")["error_count"] == before + 1)


LEFT = b"of another answer"


@pytest.mark.parametrize("together", [True, False])
def test_the_body_of_a_retried_503_reaches_no_other_client(relay: Router, a: Instance, b: Instance, together: bool):
    head = b"HTTP/1.1 503 Busy\r\nContent-Length: %d\r\n\r\n" % len(LEFT)
    refusing = says(head + LEFT) if together else says(head, LEFT)
    a.play(lambda peer, received: (refusing if received.body == b'{"model": "ab"}' else says(OK))(peer, received))
    with relay.client() as client:
        for _ in range(2):
            assert client.send(post({"model": "ab"})).answer().body == b"ok"
            assert client.send(ASK).answer().body == b"ok"


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified", b"200 OK"])
def test_a_body_where_none_may_be_reaches_no_other_client(relay: Router, a: Instance, status: bytes):
    """Twice: a head that was read once is recognized, except of these."""
    method = b"HEAD" if status.startswith(b"200") else b"GET"

    def script(peer: Peer, received: ReceivedRequest) -> None:
        length = 0 if len(a.received) == 1 and method != b"HEAD" else len(LEFT)
        bodiless = b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, length, LEFT[:length])
        peer.send(OK if received.line.startswith(b"POST") else bodiless)

    a.play(script)
    with relay.client() as client:
        for _ in range(2):
            bodiless = post({"model": "a"}).replace(b"POST", method, 1)
            assert client.send(bodiless).answer(head_only=True).status == int(status[:3])
        for _ in range(2):
            assert client.send(ASK).answer().body == b"ok"
            assert not client.rest
