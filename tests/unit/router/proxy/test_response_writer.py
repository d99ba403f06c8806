import socket

import pytest

from svc.router.http.request import Request, RequestHead
from svc.router.http.request_parser import RequestParser
from svc.router.proxy.exchange import Exchange
from svc.router.proxy.forward import forward
from svc.router.proxy.response_writer import write_response
from tests.unit.router.examples import state, target
from tests.unit.router.proxy.upstreams import keep_connection

SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\nok"
EVENTS = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"9\r\ndata: a\n\n\r\n0\r\n\r\n"
)


def relay(
    answer: bytes, method: bytes = b"POST", http10: bool = False, keep: bool = True, **special: bytes
) -> tuple[bool, bytes, bytes]:
    """Return whether the client's connection is kept, and the head and body that the client gets for this answer."""
    router = state(target("a", "m"))
    ours, theirs = socket.socketpair()
    theirs.sendall(answer)
    theirs.shutdown(socket.SHUT_WR)
    keep_connection(router, ours)
    names = {name.replace("_", "-").encode(): value for name, value in special.items()}
    uri = b"/api/tags" if method == b"HEAD" else b"/v1/chat/completions"
    head = RequestHead(method, uri, (), names, http10)
    exchange = Exchange(router, Request(head, b""), "")
    sent: list[bytes] = []
    forward(exchange, b"10.0.0.1")
    kept = write_response(exchange, head, keep, theirs, sent.append, RequestParser(1000))
    exchange.close()
    theirs.close()
    lines, _, body = b"".join(sent).partition(b"\r\n\r\n")
    return kept, lines, body


def test_a_response_with_a_length_is_passed_on_with_it():
    kept, head, body = relay(SIZED)
    assert (kept, body) == (True, b"ok")
    assert b"\r\nContent-Length: 2" in head
    assert b"Connection" not in head


@pytest.mark.parametrize("answer", [CHUNKED, UNTIL_CLOSE])
def test_a_response_of_unknown_length_is_sent_in_chunks(answer: bytes):
    kept, head, body = relay(answer)
    assert kept
    assert b"\r\nTransfer-Encoding: chunked" in head
    assert body == b"2\r\nok\r\n0\r\n\r\n"


@pytest.mark.parametrize("answer", [CHUNKED, UNTIL_CLOSE])
def test_for_http_1_0_the_end_of_the_connection_ends_a_body_of_unknown_length(answer: bytes):
    kept, head, body = relay(answer, http10=True)
    assert (kept, body) == (False, b"ok")
    assert b"Transfer-Encoding" not in head
    assert b"\r\nConnection: close" in head


def test_a_kept_connection_of_http_1_0_is_announced():
    kept, head, _ = relay(SIZED, http10=True)
    assert kept
    assert b"\r\nConnection: keep-alive" in head


@pytest.mark.parametrize("answer", [SIZED, CHUNKED])
def test_a_connection_that_must_end_is_announced(answer: bytes):
    kept, head, _ = relay(answer, keep=False)
    assert not kept
    assert b"\r\nConnection: close" in head


def test_a_response_to_head_has_no_body():
    kept, head, body = relay(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b"HEAD")
    assert (kept, body) == (True, b"")
    assert b"\r\nContent-Length: 2" in head


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_a_bodiless_response_is_not_chunked(status: bytes):
    kept, head, body = relay(b"HTTP/1.1 %b\r\n\r\n" % status)
    assert (kept, body) == (True, b"")
    assert b"Transfer-Encoding" not in head


def test_proxies_are_asked_not_to_buffer_events():
    _, head, body = relay(EVENTS)
    assert b"\r\nX-Accel-Buffering: no" in head
    assert body == b"9\r\ndata: a\n\n\r\n0\r\n\r\n"
    assert b"X-Accel" not in relay(SIZED)[1]


def test_the_instance_is_named_if_the_client_asks_for_it():
    assert b"\r\nX-Served-By: a" in relay(SIZED, x_served_by=b"1")[1]
    assert b"X-Served-By" not in relay(SIZED)[1]
