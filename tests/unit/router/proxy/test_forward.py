import gc
import socket
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svc.base.errors import BadGateway, SvcError
from svc.router.http.head_cache import HeadCache
from svc.router.http.response_parser import ResponseParser
from svc.router.proxy.exchange import Exchange
from svc.router.proxy.forward import forward
from svc.router.proxy.response_stream import MAX_HELD_BYTES, ResponseStream
from svc.router.proxy.upstream import UpstreamConnection
from tests.unit.router.examples import request, state, target
from tests.unit.router.proxy.upstreams import ScriptedSocket, event_stream, keep_connection

STATE = state()


def exchange_with(parts: list[bytes], breaks: bool = False) -> Exchange:
    exchange = Exchange(STATE, request(), "")
    exchange.stream = ResponseStream()
    exchange.upstream = event_stream(parts, breaks)
    return exchange


def read_all(exchange: Exchange) -> list[bytes]:
    pieces = []
    while not exchange.finished():
        pieces.append(exchange.read())
    return [p for p in pieces if p]


events = st.lists(
    st.sampled_from([b"data: 1\n\n", b": ping\n\n", b"data: a\r\n\r\n", b"event: x\ndata: y\n\n"]), max_size=9
)


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted({c % (len(data) + 1) for c in cuts} | {0, len(data)})
    return [part for a, b in zip(at, at[1:], strict=False) if (part := data[a:b])]


@given(events, st.sampled_from([b"", b"data: rest", b"\n"]), st.lists(st.integers(0, 99), max_size=20))
def test_however_events_are_split_whole_ones_pass(events: list[bytes], rest: bytes, cuts: list[int]):
    sent = b"".join(events)
    pieces = read_all(exchange_with(split(sent + rest, cuts)))
    assert b"".join(pieces) == sent + rest
    assert all(p.endswith((b"\n\n", b"\r\n\r\n")) for p in pieces[:-1])


line_ends = st.sampled_from([b"\n", b"\r", b"\r\n"])
odd_events = st.lists(
    st.builds(lambda text, a, b: text + a + b, st.sampled_from([b"data: 1", b": ping", b"data"]), line_ends, line_ends),
    max_size=9,
)


def event_ends(data: bytes) -> set[int]:
    """Where an empty line ends; between CR and LF too, since one that sees the CR first cannot wait for the LF."""
    ends, at, empty = set(), 0, True
    while at < len(data):
        size = 2 if data.startswith(b"\r\n", at) else 1
        ended = data[at : at + 1] in (b"\r", b"\n")
        if ended and empty:
            ends |= {at + 1, at + size}
        at, empty = at + (size if ended else 1), ended
    return ends


@given(odd_events, st.sampled_from([b"", b"data: rest", b"data: rest\r"]), st.lists(st.integers(0, 99), max_size=20))
def test_events_with_any_line_ends_split_anywhere_pass_whole(events: list[bytes], rest: bytes, cuts: list[int]):
    sent = b"".join(events) + rest
    pieces = read_all(exchange_with(split(sent, cuts)))
    assert b"".join(pieces) == sent
    assert {sum(map(len, pieces[:n])) for n in range(1, len(pieces))} <= event_ends(sent)


@given(st.sampled_from([b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r\n", b"\r\n\n"]), st.integers(1, 9))
def test_no_event_waits_for_the_one_after_it(end: bytes, size: int):
    event = b"data: 1" + end
    exchange = exchange_with(
        [part for at in range(0, len(event), size) if (part := event[at : at + size])], breaks=True
    )
    assert exchange.read() in (event, event[:-1])


@given(events, st.sampled_from([b"", b"data: re", b"data: 1\n"]), st.lists(st.integers(0, 99), max_size=20))
def test_wherever_a_stream_breaks_off_whole_events_and_the_error_pass(
    events: list[bytes], rest: bytes, cuts: list[int]
):
    sent = b"".join(events)
    said = b"".join(read_all(exchange_with(split(sent + rest, cuts), breaks=True)))
    assert said.startswith(sent + b'data: {"error":{')
    assert said.endswith(b"}}\n\ndata: [DONE]\n\n")
    assert said.count(b"[DONE]") == 1


@given(
    st.lists(
        st.sampled_from([b"data: 1\n\n", b": ping\r\n\r\n", b"data: \n\n\r\n", b"d", b"\n", b"\n\n"]), max_size=12
    ),
    st.lists(st.integers(0, 999), max_size=12),
    st.booleans(),
)
def test_whole_chunks_pass_unread_and_nothing_is_lost_or_mixed(chunks: list[bytes], cuts: list[int], whole: bool):
    """As `sock.pump` does it; what a client gets is read by the parser that reads instances."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    framed = [b"%x\r\n%b\r\n" % (len(c), c) for c in chunks] + [b"0\r\n\r\n"]
    arriving = iter([head, *(framed if whole else split(b"".join(framed), cuts))])
    ours, theirs = socket.socketpair()
    upstream = UpstreamConnection(target("a"), ours)
    upstream._recv = lambda: next(arriving)  # noqa: SLF001 - each part as one read
    one = Exchange(STATE, request(), "")
    assert upstream.read_head().events
    one.upstream, one.stream = upstream, ResponseStream()
    sent = [head]

    def relay() -> bytes:
        while one.passes(data := next(arriving)):
            sent.append(data)
        return data

    upstream.relay = relay
    while not one.finished():
        data = one.read()
        sent.append(b"%x\r\n%b\r\n" % (len(data), data) if data else b"")
    sent.append(b"0\r\n\r\n")
    client = ResponseParser(HeadCache())
    for part in sent:
        client.feed(part)
    assert client.done
    assert b"".join(client.body) == b"".join(chunks)
    if whole and len(chunks) > 1 and all(c.endswith((b"\n\n", b"\r\n\r\n")) for c in chunks):
        assert set(framed[1:-1]) <= set(sent)
    ours.close()
    theirs.close()


def test_what_is_no_event_is_not_held_for_ever():
    exchange = exchange_with([b"x" * (MAX_HELD_BYTES // 2 + 1)] * 2 + [b"y"])
    assert len(exchange.read()) > MAX_HELD_BYTES


def test_the_report_is_made_once(monkeypatch: pytest.MonkeyPatch):
    router = state(target("a", "m", static=True))
    exchange = Exchange(router, request(b'{"model": "m"}'), "")

    def refuse(*_: object) -> None:
        assert router.balancer.loads == {"a": 1}
        raise ConnectionRefusedError

    monkeypatch.setattr("svc.router.proxy.upstream.dial", refuse)
    with pytest.raises(BadGateway, match="cannot reach an instance: a: "):
        forward(exchange, b"")
    exchange.close()
    assert router.balancer.loads == {"a": 0}
    assert router.statistics.instances["a"].requests == 1


def test_an_unexpected_exception_is_answered_with_500(caplog: pytest.LogCaptureFixture):
    router = state(target("a", "m"))
    keep_connection(router, ScriptedSocket([], on_read=lambda: 1 // 0))
    exchange = Exchange(router, request(b'{"model": "m"}', x_request_id=b"mine"), "")
    with pytest.raises(SvcError, match="under mine") as caught:
        forward(exchange, b"")
    assert (caught.value.status, exchange.status, exchange.end, exchange.closed) == (500, 500, "failed", True)
    assert router.balancer.loads == {"a": 0}
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("path", [b"/v1/chat/completions", b"/v1/messages"])
def test_a_refused_request_is_freed_without_a_garbage_collection(path: bytes):
    router = state(target("a", "m"))
    gc.collect()
    gc.disable()
    try:
        exchange = Exchange(router, request(b'{"model": "unknown"}', uri=path), "")
        with suppress(SvcError):
            forward(exchange, b"")
        assert exchange.end == "refused"
        assert exchange.status == (404 if b"messages" in path else 503)
        del exchange
        assert gc.collect() == 0
    finally:
        gc.enable()


@pytest.mark.parametrize("cut", ["", "client"])
def test_a_connection_is_kept_unless_the_request_was_cut(cut: str):
    """Even where the answer was whole before the client left: what was cut is shut down."""
    router = state(target("a", "m"))
    ours, theirs = socket.socketpair()
    theirs.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    keep_connection(router, ours)
    exchange = Exchange(router, request(b'{"model": "m"}'), "")
    forward(exchange, b"")
    assert exchange.read() == b"ok"
    if cut:
        exchange.interrupt(cut)
    exchange.close()
    assert router.upstream_pool.idle_count() == (0 if cut else 1)
    ours.close()
    theirs.close()
