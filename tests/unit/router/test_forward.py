import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svc.errors import BadGateway
from svc.router.exchange import HELD_LIMIT, Exchange
from svc.router.forward import forward
from svc.router.outgoing import request_id
from svc.router.upstream import Upstream, UpstreamError
from tests.unit.router.made import request, state, target

STATE = state()


class Parts:
    """An upstream whose body comes in these parts, and then ends or breaks off."""

    status = 200

    def __init__(self, parts: list[bytes], breaks: bool = False) -> None:
        self.parts = parts
        self.breaks = breaks
        self.target = target("a")
        self.done = self.keep = False

    def read(self) -> bytes:
        if self.parts:
            return self.parts.pop(0)
        if self.breaks:
            raise UpstreamError("it closed the connection", processed=True)
        self.done = True
        return b""


def exchange(parts: list[bytes], breaks: bool = False) -> Exchange:
    made = Exchange(STATE, request(), "")
    made.events = True
    made.upstream = Parts(parts, breaks)  # type: ignore[assignment]
    return made


def read_all(made: Exchange) -> list[bytes]:
    pieces = []
    while not made.finished():
        pieces.append(made.read())
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
    pieces = read_all(exchange(split(sent + rest, cuts)))
    assert b"".join(pieces) == sent + rest
    assert all(p.endswith((b"\n\n", b"\r\n\r\n")) for p in pieces[:-1])


@given(events, st.sampled_from([b"", b"data: re", b"data: 1\n"]), st.lists(st.integers(0, 99), max_size=20))
def test_wherever_a_stream_breaks_off_whole_events_and_the_error_pass(
    events: list[bytes], rest: bytes, cuts: list[int]
):
    sent = b"".join(events)
    said = b"".join(read_all(exchange(split(sent + rest, cuts), breaks=True)))
    assert said.startswith(sent + b'data: {"error":{')
    assert said.endswith(b"}}\n\ndata: [DONE]\n\n")
    assert said.count(b"[DONE]") == 1


def test_what_is_no_event_is_not_held_for_ever():
    made = exchange([b"x" * (HELD_LIMIT // 2 + 1)] * 2 + [b"y"])
    assert len(made.read()) > HELD_LIMIT


def test_the_report_is_made_once():
    made = state(target("a", "m"))
    one = Exchange(made, request(b'{"model": "m"}'), "")

    def refuse(target: object) -> None:
        assert made.loads == {"a": 1}
        raise UpstreamError("connection refused")

    made.connections.connect = refuse  # type: ignore[assignment]
    with pytest.raises(BadGateway, match="a: connection refused"):
        forward(one, b"")
    one.close()
    assert made.loads == {"a": 0}
    assert made.tallies["a"].requests == 1


@pytest.mark.parametrize("cut", ["", "client"])
def test_a_connection_is_kept_unless_the_request_was_cut(cut: str):
    """Even where the answer was whole before the client left: what was cut is shut down."""
    made = state(target("a", "m"))
    ours, theirs = socket.socketpair()
    theirs.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    made.connections.connect = lambda asked: Upstream(asked, ours)  # type: ignore[method-assign]
    one = Exchange(made, request(b'{"model": "m"}'), "")
    forward(one, b"")
    assert one.read() == b"ok"
    if cut:
        one.interrupt(cut)
    one.close()
    assert made.connections.idle_count() == (0 if cut else 1)
    ours.close()
    theirs.close()


def test_a_request_brings_its_id_by_several_names():
    assert request_id(request()) == b""
    assert request_id(request(b"", (b"Request-Id", b"r"))) == b"r"
    assert request_id(request(b"", (b"X-Correlation-ID", b"c"))) == b"c"
    assert request_id(request(b"", (b"X-Correlation-ID", b"c"), x_request_id=b"x")) == b"x"
    assert request_id(request(x_request_id=b"x" * 1000)) == b"x" * 128
