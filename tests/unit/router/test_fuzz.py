"""What clients and instances may send, however broken: one reading of each message, or an error of ours."""

import itertools
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import h11
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from svc.base.errors import SvcError
from svc.router.http.request import Request
from svc.router.http.request_head_cache import RequestHeadCache
from svc.router.http.request_parser import RequestParser
from svc.router.http.response_parser import MAX_RESPONSE_HEAD_BYTES
from svc.router.http.upstream_error import AttemptOutcome, UpstreamError
from svc.router.proxy.upstream import UpstreamConnection
from tests.messages import CRLF, broken, broken_answers, framed_answers, sound_requests, split
from tests.unit.router.examples import target

MAX_BODY = 2000
few = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
many = settings(few, max_examples=10_000)

# Requests.

KNOWN = RequestHeadCache()  # what is recognized must be read as what is not


def read(parts: list[bytes], heads: RequestHeadCache | None = None) -> RequestParser:
    """As a connection does it; only what is the caller's own fault is raised out of it: nothing."""
    reader = RequestParser(MAX_BODY, heads)
    for part in parts:
        if reader.error is None and part:
            reader.feed(part)
    assert reader.error is None or isinstance(reader.error, SvcError)
    return reader


def parts_of(request: Request) -> tuple[Any, ...]:
    head = request.head
    return (
        head.method,
        head.uri,
        head.headers,
        sorted(head.special.items()),
        request.body,
        head.http10,
        head.keep_alive,
    )


def verdict(reader: RequestParser) -> tuple[Any, ...]:
    return [parts_of(r) for r in reader.ready], type(reader.error)


def forwarded(request: Request) -> bytes:
    return request.outgoing(b"instance:8100", b"10.0.0.1", b"id-1")


def read_again(message: bytes) -> tuple[h11.Request, bytes]:
    """What another parser reads in what we send on: one request, and not a byte more."""
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    parser.receive_data(message)
    head = parser.next_event()
    assert isinstance(head, h11.Request)
    body = b""
    while isinstance(event := parser.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert parser.trailing_data == (b"", False)
    return head, body


def assert_read_alike(request: Request) -> None:
    head, body = read_again(forwarded(request))
    assert (head.method, head.target, body) == (request.head.method, request.head.uri, request.body)
    ours = [(b"host", b"instance:8100"), *((k.lower(), v.strip(b" \t")) for k, v in request.head.headers)]
    assert [h for h in head.headers if h[0] not in (b"x-forwarded-for", b"x-request-id", b"content-length")] == ours
    lengths = [value for name, value in head.headers if name == b"content-length"]
    assert lengths == ([b"%d" % len(body)] if request.body or request.head.has_body else [])
    assert not any(name == b"transfer-encoding" for name, _ in head.headers)


def assert_sound_requests_are_read(drawn: list[tuple[bytes, bytes]], cuts: list[int]) -> None:
    data = b"".join(message for message, _ in drawn)
    cuts = sorted(cut % (len(data) + 1) for cut in cuts)
    whole = read([data])
    closed = bool(whole.ready) and not whole.ready[-1].head.keep_alive  # nothing after that is read
    assert whole.error is None or closed
    assert closed or len(whole.ready) == len(drawn)
    assert [r.body for r in whole.ready] == [body for _, body in drawn][: len(whole.ready)]
    for request in whole.ready:
        assert_read_alike(request)
    assert verdict(read([data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)])) == verdict(whole)
    assert verdict(read([data[n : n + 1] for n in range(len(data))])) == verdict(whole)
    for _ in range(2):  # unknown, then known
        known = read([message for message, _ in drawn], KNOWN)
        assert verdict(known)[0][: len(whole.ready)] == verdict(whole)[0]
        assert closed or verdict(known) == verdict(whole)
    parts = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    assert closed or verdict(read(parts, KNOWN)) == verdict(whole)


def assert_one_reading(case: tuple[bytes, list[bytes]]) -> None:
    """Whole or in parts the same requests come of it, and each is the same one to who gets it next."""
    data, parts = case
    whole = read([data])
    assert verdict(read(parts)) == verdict(whole)
    for _ in range(2):
        if not any(not r.head.keep_alive for r in whole.ready):  # nothing is read after one that closes
            assert verdict(read([data], KNOWN)) == verdict(read(parts, KNOWN)) == verdict(whole)
    for request in whole.ready:
        assert_read_alike(request)


sound_streams = st.lists(sound_requests(), min_size=1, max_size=4)
cuts = st.lists(st.integers(0, 5000), max_size=8)


@few
@given(sound_streams, cuts)
def test_sound_requests_are_read_however_they_are_split(drawn: list[tuple[bytes, bytes]], cuts: list[int]):
    assert_sound_requests_are_read(drawn, cuts)


@few
@given(split(broken))
def test_broken_requests_have_one_reading_or_none(case: tuple[bytes, list[bytes]]):
    assert_one_reading(case)


@pytest.mark.long
@many
@given(sound_streams, cuts)
def test_thousands_of_sound_requests(drawn: list[tuple[bytes, bytes]], cuts: list[int]):
    assert_sound_requests_are_read(drawn, cuts)


@pytest.mark.long
@many
@given(split(broken))
def test_thousands_of_broken_requests(case: tuple[bytes, list[bytes]]):
    assert_one_reading(case)


# Answers.


@contextmanager
def asked(head_only: bool) -> Iterator[tuple[UpstreamConnection, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.settimeout(5)  # a hang is an UpstreamError that no assertion expects
    upstream = UpstreamConnection(target("a"), ours)
    try:
        upstream.send_request(b"GET / HTTP/1.1\r\n\r\n", head_only)
        yield upstream, theirs
    finally:
        upstream.close()
        theirs.close()


def heard(data: bytes, parts: list[bytes], head_only: bool) -> tuple[Any, ...]:
    """What comes of an answer that arrives in these parts and then ends: status, headers, body, how it ended."""
    with asked(head_only) as (upstream, theirs):
        arriving = iter([*(p for p in parts if p), b""])
        upstream._recv = lambda: next(arriving)  # noqa: SLF001 - each part as one read, whatever the kernel does
        body, failure, begun = b"", "", True
        try:
            upstream.read_head()
            while not head_only and (piece := upstream.read()):
                body += piece
        except UpstreamError as error:
            failure = "unread" if upstream.head is None else "cut"
            assert not upstream.persistent
            begun = error.outcome is AttemptOutcome.BEGUN
        else:
            assert upstream.done
            assert upstream.length is None or head_only or upstream.head.status == 304 or len(body) == upstream.length
        assert begun is bool(data)
        head = upstream.head
        return head and head.status, head and head.headers, body, failure


def assert_answers_are_read_alike(case: tuple[bytes, list[bytes]], head_only: bool) -> None:
    data, parts = case
    status, headers, body, failure = heard(data, parts, head_only)
    singly = heard(data, [data[n : n + 1] for n in range(len(data))], head_only)
    assert (failure == "unread") is (singly[3] == "unread")
    if not failure and not singly[3]:
        assert singly == (status, headers, body, "")


@few
@given(split(broken_answers()), st.booleans())
def test_broken_answers_are_read_alike_or_not_at_all(case: tuple[bytes, list[bytes]], head_only: bool):
    assert_answers_are_read_alike(case, head_only)


@few
@given(framed_answers(), st.integers(0, 5000))
def test_whole_responses_are_read_and_truncated_ones_raise(drawn: tuple[bytes, bytes], cut: int):
    data, body = drawn
    assert heard(data, [data], head_only=False)[2:] == (body, "")
    part = data[: cut % len(data)]
    assert heard(part, [part], head_only=False)[3]


@pytest.mark.long
@many
@given(split(broken_answers()), st.booleans())
def test_thousands_of_broken_answers(case: tuple[bytes, list[bytes]], head_only: bool):
    assert_answers_are_read_alike(case, head_only)


@pytest.mark.parametrize(
    "endless", [b"HTTP/1.1 200 OK\r\nX: 1\r\n", b"HTTP/1.1 100 A\r\n\r\n", b"HTTP/1.1 200 ", b"\r\n"]
)
def test_a_head_without_end_is_refused(endless: bytes):
    """And so are interim answers without end."""
    parts = itertools.chain([endless], itertools.repeat((endless.partition(CRLF)[2] or b"x") * 100))
    given = 0

    def more() -> bytes:
        nonlocal given
        part = next(parts)
        given += len(part)
        assert given < 3 * MAX_RESPONSE_HEAD_BYTES
        return part

    with asked(False) as (upstream, _):
        upstream._recv = more  # noqa: SLF001
        with pytest.raises(UpstreamError, match="over|not HTTP"):
            upstream.read_head()
