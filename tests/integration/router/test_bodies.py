"""Bodies as clients send them: read, decoded and passed on to an instance of their model, or refused."""

import gzip
import json
import zlib

import brotli
import pytest
from backports import zstd

from tests.integration.router.client import post
from tests.integration.router.instance import Instance
from tests.integration.router.routers import Router

JSON = b"Content-Type: application/json"
BODY = json.dumps({"model": "b", "messages": [{"role": "user", "content": "hello " * 500}]}).encode()
ENCODERS = {b"gzip": gzip.compress, b"deflate": zlib.compress, b"zstd": zstd.compress, b"br": brotli.compress}


@pytest.mark.parametrize("coding", ENCODERS)
def test_a_compressed_body_reaches_an_instance_of_its_model_plain(
    relay: Router, a: Instance, b: Instance, c: Instance, coding: bytes
):
    with relay.client() as client:
        for _ in range(3):
            client.send(post(ENCODERS[coding](BODY), JSON, b"Content-Encoding: " + coding))
            assert client.answer().body == b"ok"
    assert [received.body for received in b.received] == [BODY] * 3
    assert all(received.header(b"content-encoding") is None for received in b.received)
    assert b.received[0].header(b"content-length") == b"%d" % len(BODY)
    assert not a.received
    assert not c.received


@pytest.mark.parametrize(
    "body",
    [
        b'{"model": "b", "x": NaN}',
        b'{"model": "b", "x": "\\ud800"}',
        b'\xef\xbb\xbf{"model": "b"}',
        '{"model": "b"}'.encode("utf-16"),
        b"\n" * 100 + b'{"model": "b"}',
        b'{"model": "b", "x": "\xff"}',
    ],
)
def test_a_body_that_engines_read_reaches_an_instance_of_its_model(relay: Router, b: Instance, body: bytes):
    with relay.client() as client:
        for _ in range(3):
            assert client.send(post(body, JSON)).answer().body == b"ok"
    assert [received.body for received in b.received] == [body] * 3


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b'{"model": "b"', (JSON,), 400),
        (b'{"model": 7}', (JSON,), 400),
        (b'{"model": "b", "x": %b}' % (b"[" * 100_000), (JSON,), 400),
        (b"hello", (b"Content-Type: application/x-www-form-urlencoded",), 400),
        (b"hello", (b"Content-Type: multipart/form-data; boundary=B",), 400),
        (b"hello", (JSON, b"Content-Encoding: gzip"), 400),
        (BODY, (JSON, b"Content-Encoding: compress"), 415),
        (b"RIFF", (b"Content-Type: audio/wav",), 415),
        (zstd.compress(bytes(26_000_000)), (JSON, b"Content-Encoding: zstd"), 413),
    ],
)
def test_a_body_that_cannot_be_read_reaches_no_instance(
    relay: Router, a: Instance, b: Instance, c: Instance, body: bytes, headers: tuple[bytes, ...], status: int
):
    """And the connection serves on."""
    with relay.client() as client:
        answer = client.send(post(body, *headers)).answer()
        assert (answer.status, answer.error()["type"]) == (status, "invalid_request_error")
        assert answer.header(b"x-request-id")
        answer = client.send(post(body, *headers, path=b"/v1/messages")).answer()
        assert (answer.status, json.loads(answer.body)["type"]) == (status, "error")
        assert not any(instance.received for instance in (a, b, c))
        assert client.send(post({"model": "a"})).answer().body == b"ok"


def test_a_compressed_body_of_a_model_that_no_instance_has_is_503(relay: Router, a: Instance):
    body = gzip.compress(b'{"model": "no one\'s"}')
    with relay.client() as client:
        assert client.send(post(body, JSON, b"Content-Encoding: gzip")).answer().status == 503
    assert not a.received


def test_the_query_names_the_model_of_a_body_that_is_not_read(relay: Router, b: Instance):
    with relay.client() as client:
        client.send(post(b"v=0", b"Content-Type: application/sdp", path=b"/v1/realtime/calls?model=b"))
        assert client.answer().body == b"ok"
    assert b.received[0].body == b"v=0"
