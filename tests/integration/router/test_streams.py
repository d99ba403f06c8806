"""Streams of events: unbuffered, whole, and never ended silently."""

import json
import socket
import struct
import threading

import pytest

from tests.client_libraries import openai
from tests.integration.fakes import mock
from tests.integration.router.client import Client, post
from tests.integration.router.event_streams import CHUNKED, HEAD, chunk, last_error, one_by_one
from tests.integration.router.instance import Instance, Peer, ReceivedRequest
from tests.integration.router.routers import Router, router, service, static

ASK = post({"model": "a", "stream": True})


def test_each_event_arrives_before_the_next_is_made(relay: Router, a: Instance):
    arrived = threading.Event()
    a.play(one_by_one(arrived, 5, patience=5))
    with relay.client() as client:
        status, _, headers = client.send(ASK).head()
        assert status == 200
        assert dict(headers)[b"Content-Type"] == b"text/event-stream; charset=utf-8"
        assert dict(headers)[b"X-Accel-Buffering"] == b"no"
        for n in range(5):
            assert client.chunk() == b"data: %d\n\n" % n
            arrived.set()
        assert client.chunk() == b""
        assert client.send(post({"model": "b"})).answer().status == 200


def test_the_head_arrives_before_the_first_event(relay: Router, a: Instance):
    arrived = threading.Event()

    def script(peer: Peer, received: ReceivedRequest) -> None:
        peer.send(CHUNKED)
        assert arrived.wait(5)
        peer.send(chunk(b"data: 1\n\n") + b"0\r\n\r\n")

    a.play(script)
    with relay.client() as client:
        assert client.send(ASK).head()[0] == 200
        arrived.set()
        assert client.chunk() == b"data: 1\n\n"


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r", b"\r\n\n"])
def test_an_event_in_many_packets_arrives_in_one_piece(relay: Router, a: Instance, end: bytes):
    event = b"data: " + b"x" * 100 + end

    def script(peer: Peer, received: ReceivedRequest) -> None:
        peer.send(CHUNKED)
        for part in (event[:7], event[7:90], event[90:-2], event[-2:-1], event[-1:] + event[:9], event[9:]):
            peer.send(chunk(part))
            threading.Event().wait(0.02)
        peer.send(b"0\r\n\r\n")

    a.play(script)
    with relay.client() as client:
        client.send(ASK).head()
        assert [client.chunk(), client.chunk(), client.chunk()] == [event, event, b""]


def test_what_follows_the_last_event_is_passed_on(relay: Router, a: Instance):
    a.play(lambda peer, received: peer.send(CHUNKED + chunk(b"data: 1\n\ndata: un") + chunk(b"ended") + b"0\r\n\r\n"))
    with relay.client() as client:
        assert client.send(ASK).answer().body == b"data: 1\n\ndata: unended"


def test_an_event_over_a_megabyte_is_passed_on_in_parts(relay: Router, a: Instance):
    event = b"data: " + b"x" * 3_000_000 + b"\n\n"
    a.play(lambda peer, received: peer.send(CHUNKED + chunk(event) + b"0\r\n\r\n"))
    with relay.client() as client:
        assert client.send(ASK).answer().body == event


@pytest.mark.parametrize("framing", ["chunked", "until close"])
def test_a_stream_until_the_connection_ends_is_whole(relay: Router, a: Instance, framing: str):
    def script(peer: Peer, received: ReceivedRequest) -> bool:
        peer.send(CHUNKED if framing == "chunked" else HEAD + b"\r\n")
        for event in (b"data: 1\n\n", b"data: [DONE]\n\n"):
            peer.send(chunk(event) if framing == "chunked" else event)
        if framing == "chunked":
            peer.send(b"0\r\n\r\n")
        return False

    a.play(script)
    with relay.client() as client:
        assert client.send(ASK).answer().body == b"data: 1\n\ndata: [DONE]\n\n"


@pytest.mark.parametrize("part", [b"", b'data: {"half', b"data: 2\n"])
@pytest.mark.parametrize("told", [b"", b"Connection: close\r\n"])
def test_a_stream_that_is_cut_ends_with_an_error_event(relay: Router, a: Instance, part: bytes, told: bytes):
    def script(peer: Peer, received: ReceivedRequest) -> bool:
        peer.send(HEAD + told + b"Transfer-Encoding: chunked\r\n\r\n" + chunk(b"data: 1\n\n"))
        if part:
            peer.send(chunk(part))
        return False

    a.play(script)
    before = relay.service("a")["error_count"]
    with relay.client() as client:
        body = client.send(ASK).answer().body
        assert body.startswith(b"data: 1\n\ndata: {")
        assert last_error(body)["code"] == "bad_gateway"
        assert client.send(post({"model": "b"})).answer().status == 200  # the connection goes on
    assert relay.service("a")["error_count"] == before + 1


CHAT = b"data: [DONE]\n\n"
ANTHROPIC = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
RESPONSES = b'event: response.completed\ndata: {"type":"response.completed","response":{"status":"completed"}}\n\n'


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("last", [CHAT, ANTHROPIC, RESPONSES], ids=["chat", "anthropic", "responses"])
def test_a_close_after_the_last_event_is_no_failure(relay: Router, a: Instance, last: bytes, reset: bool):
    arrived = threading.Event()

    def script(peer: Peer, received: ReceivedRequest) -> bool:
        peer.send(CHUNKED + chunk(b"data: 1\n\n") + chunk(last))
        assert arrived.wait(5)
        if reset:
            peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False

    a.play(script)
    before = relay.service("a")["error_count"]
    with relay.client() as client:
        client.send(ASK).head()
        body = b""
        while not body.endswith(last):
            body += client.chunk()
        arrived.set()
        assert client.chunk() == b""
        assert body == b"data: 1\n\n" + last
        a.play()
        assert client.send(ASK).answer().status == 200
    assert a.connections == 1
    assert relay.service("a")["error_count"] == before


def test_an_old_client_sees_the_end_after_the_last_event(relay: Router, a: Instance):
    def script(peer: Peer, received: ReceivedRequest) -> bool:
        peer.send(CHUNKED + chunk(b"data: 1\n\n") + chunk(CHAT))
        return False

    a.play(script)
    with relay.client() as client:
        client.send(b'POST /x HTTP/1.0\r\nContent-Length: 14\r\n\r\n{"model": "a"}')
        assert client.answer().body == b"data: 1\n\n" + CHAT


def test_a_stream_broken_before_its_first_event_ends_with_an_error(relay: Router, a: Instance):
    def script(peer: Peer, received: ReceivedRequest) -> bool:
        peer.send(CHUNKED)
        return False

    a.play(script)
    with relay.client() as client:
        assert last_error(client.send(ASK).answer().body)["type"] == "api_error"


def test_an_old_client_gets_the_error_event_too(relay: Router, a: Instance):
    def script(peer: Peer, received: ReceivedRequest) -> bool:
        peer.send(CHUNKED + chunk(b"data: 1\n\nda"))
        return False

    a.play(script)
    with relay.client() as client:
        client.send(b'POST /x HTTP/1.0\r\nContent-Length: 14\r\n\r\n{"model": "a"}')
        assert last_error(client.answer().body)["code"] == "bad_gateway"


@pytest.mark.parametrize(
    "told", [b"Content-Length: 30\r\n", b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"]
)
def test_where_no_event_can_be_added_the_framing_shows_the_truncation(relay: Router, a: Instance, told: bytes):
    def script(peer: Peer, received: ReceivedRequest) -> bool:
        peer.send(HEAD + told + b"\r\n" + (chunk(b"data: 1\n\n") if b"chunked" in told else b"data: 1\n\n"))
        return False

    a.play(script)
    with relay.client() as client:
        client.send(ASK).head()
        assert client.all() in (b"data: 1\n\n", chunk(b"data: 1\n\n"))


def test_the_official_client_reads_streams_and_their_errors(relay: Router, tmp_path):
    with mock("m", ["m"], tokens=5) as backend:
        path = static(tmp_path / "static.json", [service("m", backend.port, "m")])
        with router("--static-services", path) as own:
            client = openai.OpenAI(base_url=own.url + "/v1", api_key="none", max_retries=0)
            asked = {"model": "m", "messages": [{"role": "user", "content": "hello"}], "stream": True}
            assert len([c for c in client.chat.completions.create(**asked) if c.choices[0].delta.content]) == 5
            backend.behave(cut_after=2)
            with pytest.raises(openai.APIError, match="broke off"):
                list(client.chat.completions.create(**asked))


def test_a_hundred_streams_at_once_are_not_mixed(relay: Router, a: Instance):
    together = threading.Barrier(100)  # no stream is an event ahead of another

    def script(peer: Peer, received: ReceivedRequest) -> None:
        name = json.loads(received.body)["n"]
        peer.send(CHUNKED)
        for n in range(10):
            together.wait(timeout=20)
            peer.send(chunk(b"data: %d.%d\n\n" % (name, n)))
        peer.send(b"0\r\n\r\n")

    a.play(script)
    clients = [Client(relay.port) for _ in range(100)]
    for n, client in enumerate(clients):
        client.send(post({"model": "a", "n": n}))
    for n, client in enumerate(clients):
        with client:
            assert client.answer().body == b"".join(b"data: %d.%d\n\n" % (n, k) for k in range(10))
    assert relay.in_flight() == 0
