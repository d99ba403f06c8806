"""Requests as clients send them, and what of them reaches an instance."""

import hashlib
import json
import os
import threading

import pytest

from tests.integration.router.client import Client, get, post
from tests.integration.router.conftest import MAX_BODY
from tests.integration.router.instance import Instance
from tests.integration.router.routers import Router


def test_method_target_headers_and_body_pass_as_they_came(relay: Router, a: Instance):
    body = b'{"model": "a", "messages": []}'
    with relay.client() as client:
        client.send(
            b"PATCH /v1/any%%20thing?q=%%41&r=a+b HTTP/1.1\r\nHost: router\r\nX-One: 1\r\nx-one: 2\r\nX-Empty:\r\n"
            b"Authorization: Bearer k\r\ntraceparent: 00-1-2-01\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        assert client.answer().body == b"ok"
    received = a.received[0]
    assert received.line == b"PATCH /v1/any%20thing?q=%41&r=a+b HTTP/1.1"
    assert received.body == body
    assert received.headers[:6] == [
        (b"Host", b"127.0.0.1:%d" % a.port),
        (b"X-One", b"1"),
        (b"x-one", b"2"),
        (b"X-Empty", b""),
        (b"Authorization", b"Bearer k"),
        (b"traceparent", b"00-1-2-01"),
    ]
    assert received.header(b"content-length") == b"%d" % len(body)


def test_hop_by_hop_headers_are_not_passed_on(relay: Router, a: Instance):
    with relay.client() as client:
        client.send(
            post(
                {"model": "a"},
                b"Connection: keep-alive, X-Mine , x-other",
                b"Connection: X-Third",
                b"X-Mine: 1",
                b"X-Other: 2",
                b"X-Third: 3",
                b"X-Kept: 4",
                b"Keep-Alive: timeout=5",
                b"TE: trailers",
                b"Trailer: X-Sum",
                b"Upgrade: websocket",
                b"Proxy-Connection: keep-alive",
                b"Proxy-Authorization: Basic Zm9v",
            )
        )
        assert client.answer().status == 200
    names = {name.lower() for name, _ in a.received[0].headers}
    assert names == {b"host", b"x-kept", b"x-forwarded-for", b"x-request-id", b"content-length", b"via"}


def test_a_chunked_body_arrives_whole_without_its_trailers(relay: Router, a: Instance):
    with relay.client() as client:
        client.send(b"POST /x HTTP/1.1\r\nHost: r\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n")
        client.send(b'8;ext=1\r\n{"model"\r\n').send(b'6\r\n: "a"}\r\n').send(b"0\r\nX-Sum: 9\r\n\r\n")
        assert client.answer().body == b"ok"
    assert a.received[0].body == b'{"model": "a"}'
    assert not a.received[0].all(b"x-sum")
    assert not a.received[0].all(b"trailer")


def test_a_request_without_a_body_gets_none(relay: Router, a: Instance, b: Instance, c: Instance):
    with relay.client() as client:
        client.send(b"DELETE /v1/files/7 HTTP/1.1\r\nHost: r\r\n\r\n")
        assert client.answer().status == 200
    (received,) = [h for i in (a, b, c) for h in i.received]
    assert received.line == b"DELETE /v1/files/7 HTTP/1.1"
    assert not received.all(b"content-length")


@pytest.mark.parametrize("size", [0, 1, 65_536, 20_000_000])
def test_bodies_of_every_size_arrive_intact(relay: Router, a: Instance, size: int):
    body = b'{"model": "a", "x": "%b"}' % os.urandom(size // 2).hex().encode()
    a.play(lambda peer, received: peer.send(_answer(hashlib.sha256(received.body).hexdigest().encode())))
    with relay.client() as client:
        client.send(post(body))
        assert client.answer().body.decode() == hashlib.sha256(body).hexdigest()


def test_100_continue_is_sent_when_the_client_waits_for_it(relay: Router, a: Instance):
    with relay.client() as client:
        client.send(b"POST /x HTTP/1.1\r\nHost: r\r\nExpect: 100-continue\r\nContent-Length: 14\r\n\r\n")
        assert client.head()[0] == 100
        client.send(b'{"model": "a"}')
        assert client.answer().body == b"ok"
    assert not a.received[0].all(b"expect")


def test_100_continue_is_left_out_when_the_body_is_there_or_the_client_is_old(relay: Router, a: Instance):
    with relay.client() as client:
        client.send(post({"model": "a"}, b"Expect: 100-continue"))
        assert client.answer().status == 200
        client.send(b"POST /x HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 14\r\n\r\n")
        client.send(b'{"model": "a"}')
        assert client.answer().status == 200


def test_100_continue_of_a_second_request_comes_after_the_first_answer(relay: Router, a: Instance):
    with relay.client() as client:
        client.send(
            post({"model": "a"}) + b"POST /x HTTP/1.1\r\nHost: r\r\nExpect: 100-continue\r\nContent-Length: 14\r\n\r\n"
        )
        assert client.answer().body == b"ok"
        assert client.head()[0] == 100
        client.send(b'{"model": "a"}')
        assert client.answer().body == b"ok"


def test_too_large_is_sent_instead_of_100_continue(relay: Router):
    with relay.client() as client:
        client.send(
            b"POST /x HTTP/1.1\r\nHost: r\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY + 1)
        )
        assert client.answer().status == 413
        assert client.ended()


@pytest.mark.parametrize("chunked", [False, True])
def test_a_client_that_still_sends_too_much_reads_the_413(relay: Router, a: Instance, chunked: bool):
    told = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % (2 * MAX_BODY)
    piece = b"x" * 500_000
    with relay.client() as client:
        client.send(b"POST /x HTTP/1.1\r\nHost: r\r\n%b\r\n\r\n" % told)
        for _ in range(2 * MAX_BODY // len(piece)):
            client.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        answer = client.answer()
        assert (answer.status, answer.error()["code"]) == (413, "request_too_large")
        assert answer.header(b"connection") == b"close"
        assert client.ended()
    assert not a.received


def test_http_1_0_gets_a_closed_connection_or_keeps_it_when_it_asks(relay: Router, a: Instance):
    with relay.client() as client:
        for _ in range(2):
            client.send(b'POST /x HTTP/1.0\r\nConnection: Keep-Alive\r\nContent-Length: 14\r\n\r\n{"model": "a"}')
            answer = client.answer()
            assert (answer.body, answer.header(b"connection")) == (b"ok", b"keep-alive")
        client.send(b'POST /x HTTP/1.0\r\nConnection: Keep-Alive\r\nContent-Length: 14\r\n\r\n{"model": "-"}')
        answer = client.answer()
        assert (answer.status, answer.header(b"connection")) == (503, b"keep-alive")
        client.send(b"GET /livez HTTP/1.0\r\n\r\n")
        answer = client.answer()
        assert (answer.status, answer.header(b"connection")) == (200, b"close")
        assert client.ended()


def test_http_1_0_gets_no_chunks(relay: Router, a: Instance):
    a.play(
        lambda peer, received: peer.send(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n"
        )
    )
    with relay.client() as client:
        client.send(b'POST /x HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 14\r\n\r\n{"model": "a"}')
        answer = client.answer()
        assert (answer.body, answer.header(b"connection")) == (b"abcdef", b"close")
        assert client.ended()


def test_absolute_form_is_relayed_by_its_path(relay: Router, a: Instance):
    with relay.client() as client:
        client.send(b'POST http://elsewhere:1/v1/x?y=1 HTTP/1.1\r\nHost: e\r\nContent-Length: 14\r\n\r\n{"model": "a"}')
        assert client.answer().status == 200
        client.send(b"GET http://elsewhere/livez HTTP/1.1\r\nHost: e\r\n\r\n")
        assert json.loads(client.answer().body) == {"status": "alive"}
    assert a.received[0].line == b"POST /v1/x?y=1 HTTP/1.1"


def test_requests_in_one_packet_are_answered_in_order(relay: Router, a: Instance):
    a.play(lambda peer, received: peer.send(_answer(received.line.split()[1])))
    with relay.client() as client:
        client.send(
            post({"model": "a"}, path=b"/1") + get(b"/livez") + post({"model": "a"}, path=b"/2") + get(b"/v1/models")
        )
        assert client.answer().body == b"/1"
        assert json.loads(client.answer().body) == {"status": "alive"}
        assert client.answer().body == b"/2"
        assert json.loads(client.answer().body)["object"] == "list"


def test_a_request_in_many_packets_is_one_request(relay: Router, a: Instance):
    whole = post({"model": "a"}, b"X-Long: 1")
    with relay.client() as client:
        for at in range(len(whole)):
            client.send(whole[at : at + 1])
        assert client.answer().body == b"ok"
    assert len(a.received) == 1


def test_what_comes_before_garbage_is_answered(relay: Router, a: Instance):
    with relay.client() as client:
        client.send(post({"model": "a"}) + b"\x16\x03\x01garbage\r\n\r\n")
        assert client.answer().body == b"ok"
        answer = client.answer()
        assert (answer.status, answer.header(b"connection")) == (400, b"close")
        assert client.ended()


def test_what_comes_before_a_bad_request_is_answered(relay: Router, a: Instance):
    with relay.client() as client:
        client.send(post({"model": "a"}) + b"GET / HTTP/1.1\r\n\r\n" + post({"model": "a"}))
        assert client.answer().body == b"ok"
        assert client.answer().error()["message"] == "the request has no Host header"
        assert client.ended()
    assert len(a.received) == 1


@pytest.mark.parametrize("body", [b"", b'{"model": "a"}'])
def test_an_upgrade_is_ignored(relay: Router, a: Instance, b: Instance, c: Instance, body: bytes):
    """As Java's HttpClient offers HTTP/2, with a body too."""
    with relay.client() as client:
        client.send(
            post(body, b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAEA", b"X-Kept: 1")
            + post({"model": "a"}, path=b"/next")
        )
        assert client.answer().body == b"ok"
        assert client.answer().body == b"ok"
    received = [h for i in (a, b, c) for h in i.received if h.line == b"POST /v1/chat/completions HTTP/1.1"]
    assert [h.body for h in received] == [body]
    names = {name.lower() for name, _ in received[0].headers}
    assert names == {b"host", b"x-kept", b"x-forwarded-for", b"x-request-id", b"content-length", b"via"}


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\rY: 2\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: 1\r\n" * 129 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 200_000, 431),
    ],
)
def test_what_cannot_be_read_in_one_way_is_refused(relay: Router, a: Instance, sent: bytes, status: int):
    with relay.client() as client:
        client.send(sent)
        answer = client.answer()
        assert answer.status == status
        assert answer.header(b"connection") == b"close"
        assert answer.error()["type"] == "invalid_request_error"
        assert client.ended()
    assert not a.received


def test_a_request_after_long_bodies_may_come_in_parts(relay: Router, a: Instance):
    """What was read of one request does not count against the head of the next."""
    with relay.client() as client:
        for _ in range(3):
            client.send(post(b'{"model": "a", "x": "%b"}' % (b"y" * 60_000)))
            assert client.answer().status == 200
            whole = post({"model": "a"}, b"X-Long: " + b"z" * 10_000)
            client.send(whole[:5_000])
            threading.Event().wait(0.02)
            client.send(whole[5_000:])
            assert client.answer().status == 200


def test_x_forwarded_for_is_extended(relay: Router, a: Instance):
    with relay.client() as client:
        client.send(post({"model": "a"}))
        client.answer()
        client.send(post({"model": "a"}, b"X-Forwarded-For: 10.0.0.1, 10.0.0.2"))
        client.answer()
    assert a.received[0].header(b"x-forwarded-for") == b"127.0.0.1"
    assert a.received[1].header(b"x-forwarded-for") == b"10.0.0.1, 10.0.0.2, 127.0.0.1"


@pytest.mark.parametrize("header", [b"x-request-id", b"X-Request-ID", b"x-correlation-id", b"Request-Id"])
def test_a_request_id_is_kept_sent_on_and_echoed(relay: Router, a: Instance, header: bytes):
    with relay.client() as client:
        for model, status in ((b"a", 200), (b"nobody", 503), (b"dead", 502)):
            client.send(post(b'{"model": "%b"}' % model, header + b": mine-1"))
            answer = client.answer()
            assert (answer.status, answer.header(b"x-request-id")) == (status, b"mine-1")
    assert a.received[0].header(b"x-request-id") == b"mine-1"


def test_a_request_without_an_id_gets_one_of_its_own(relay: Router, a: Instance):
    a.play(lambda peer, received: peer.send(b"HTTP/1.1 200 OK\r\nX-Request-Id: theirs\r\nContent-Length: 0\r\n\r\n"))
    with relay.client() as client:
        told = []
        for model in (b"a", b"a", b"nobody"):
            client.send(post(b'{"model": "%b"}' % model))
            told.append(client.answer().header(b"x-request-id"))
    assert len(set(told)) == 3
    assert all(told)
    assert [h.header(b"x-request-id") for h in a.received] == told[:2]


def test_own_endpoints_answer_on_the_same_connection_and_to_head(relay: Router, a: Instance):
    with relay.client() as client:
        client.send(get(b"/v1/models"))
        listed = client.answer().body
        client.send(b"HEAD /v1/models HTTP/1.1\r\nHost: r\r\n\r\n")
        assert client.answer(head_only=True).header(b"content-length") == b"%d" % len(listed)
        client.send(post({"model": "a"}))
        assert client.answer().body == b"ok"
        client.send(get(b"/v1/models/none"))
        assert client.answer().status == 404


def test_other_methods_on_own_paths_and_paths_like_them_are_the_instances(relay: Router, a: Instance):
    with relay.client() as client:
        client.send(post({"model": "a"}, path=b"/health"))
        assert client.answer().body == b"ok"
        client.send(post({"model": "a"}, path=b"//health//x/"))
        assert client.answer().body == b"ok"
    assert [h.line for h in a.received] == [b"POST /health HTTP/1.1", b"POST //health//x/ HTTP/1.1"]


@pytest.mark.parametrize("form_first", [True, False])
def test_the_model_of_a_form_chooses(relay: Router, b: Instance, form_first: bool):
    model = b'--XX\r\nContent-Disposition: form-data; name="model"\r\n\r\nb\r\n'
    file = (
        b'--XX\r\nContent-Disposition: form-data; name="file"; filename="model"\r\n'
        b"Content-Type: audio/wav\r\n\r\n%b\r\n" % os.urandom(300_000).replace(b"--XX", b"----")
    )
    body = (model + file if form_first else file + model) + b"--XX--\r\n"
    with relay.client() as client:
        for _ in range(2):
            client.send(post(body, b'Content-Type: multipart/form-data; boundary="XX"'))
            assert client.answer().status == 200
    assert [h.body for h in b.received] == [body, body]


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b'{"model": null}', b'"x"', b'\xef\xbb\xbf{"x": NaN}'])
def test_a_body_without_a_model_goes_to_anybody(relay: Router, a: Instance, b: Instance, c: Instance, body: bytes):
    with relay.client() as client:
        for _ in range(3):  # one of four members is dead, and the next is tried
            client.send(post(body))
            assert client.answer().body == b"ok"
    assert [h.body for i in (a, b, c) for h in i.received] == [body] * 3


def test_an_unknown_model_is_503_by_name(relay: Router):
    with relay.client() as client:
        client.send(post({"model": "No Such/Model \u00e9"}))
        answer = client.answer()
        assert answer.status == 503
        assert answer.error() == {
            "message": "No healthy services available for model 'No Such/Model \u00e9'",
            "type": "api_error",
            "param": None,
            "code": "service_unavailable",
        }
        client.send(get(b"/livez"))
        assert client.answer().status == 200


def test_a_client_that_ends_in_the_middle_of_a_request_is_no_event(relay: Router, a: Instance):
    for part in (b"", b"POST / HT", post({"model": "a"})[:-3]):
        with relay.client() as client:
            client.send(part)
    with Client(relay.port) as client:
        client.send(post({"model": "a"}))
        assert client.answer().status == 200
    assert len(a.received) == 1


def _answer(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
