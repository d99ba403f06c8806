"""A stream that waits for a wake: its comments never keep other requests for the model from their turn."""

import socket
from contextlib import suppress
from types import SimpleNamespace

import pytest

from svc.router.http.request import Media
from svc.router.http.sockets import takes_bytes
from svc.router.proxy.response_breaks import ClientGone
from svc.router.proxy.waiting_stream import COMMENT, COMMENT_INTERVAL_SECONDS, WaitingStream


def waiting_exchange():
    head = SimpleNamespace(
        method=b"POST",
        http10=False,
        media=Media.JSON,
        uri=b"/v1/chat/completions",
        origin_decision=SimpleNamespace(lines=b""),
    )
    request = SimpleNamespace(head=head, body=b'{"stream": true}')
    return SimpleNamespace(
        request=request, state=SimpleNamespace(now=100.0), limits=None, request_id=b"r1", answered=False
    )


def test_a_client_that_does_not_read_gets_no_comment_until_it_reads():
    router, client = socket.socketpair()
    with router, client:
        router.setblocking(False)
        with suppress(BlockingIOError):
            while router.send(bytes(4096)):
                pass
        router.settimeout(5)  # a send would fail now
        exchange = waiting_exchange()
        stream = WaitingStream(exchange, router.sendall, lambda: takes_bytes(router), keep=True)
        stream.keep_alive(exchange)
        assert (stream.begun, exchange.answered, stream.due) == (False, False, 0.0)
        client.settimeout(5)
        while not takes_bytes(router):
            client.recv(1 << 20)
        stream.keep_alive(exchange)
        assert (stream.begun, exchange.answered) == (True, True)
        assert stream.due == exchange.state.now + COMMENT_INTERVAL_SECONDS


def test_a_client_that_has_left_ends_its_wait():
    router, client = socket.socketpair()
    with router:
        client.close()
        exchange = waiting_exchange()
        with pytest.raises(ClientGone):
            WaitingStream(exchange, router.sendall, lambda: takes_bytes(router), keep=True).keep_alive(exchange)


def test_the_head_comes_with_the_first_comment():
    sent = []
    exchange = waiting_exchange()
    stream = WaitingStream(exchange, sent.append, lambda: True, keep=True)
    stream.keep_alive(exchange)
    stream.keep_alive(exchange)
    assert len(sent) == 1
    assert sent[0].startswith(b"HTTP/1.1 200 OK\r\n")
    assert sent[0].endswith(b"\r\n\r\n%x\r\n%b\r\n" % (len(COMMENT), COMMENT))
