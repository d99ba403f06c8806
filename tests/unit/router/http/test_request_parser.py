import pytest
from hypothesis import given
from hypothesis import strategies as st

from svc.base.errors import BadRequest, HeadTooLarge, NotAllowed, TooLarge
from svc.router.http.request import Request, origin_form
from svc.router.http.request_parser import MAX_BODY_PIECES, MAX_HEAD_BYTES, MAX_HEADERS, MAX_PIPELINED, RequestParser

HEAD = b"POST /x HTTP/1.1\r\nHost: r\r\n"


def read(*parts: bytes, max_body: int = 1000) -> RequestParser:
    reader = RequestParser(max_body)
    for part in parts:
        if reader.error is None:
            reader.feed(part)
    return reader


def only(reader: RequestParser) -> Request:
    assert reader.error is None
    assert not reader.begun
    (request,) = reader.ready
    return request


def test_what_passes_on_stands_apart_from_what_is_for_us():
    request = only(read(HEAD + b"X-A: 1\r\nx-empty:\r\nTE: trailers\r\nContent-Length: 2\r\nX-A: 2\r\n\r\nhi"))
    assert request.head.headers == ((b"X-A", b"1"), (b"x-empty", b""), (b"X-A", b"2"))
    assert request.head.special == {b"host": b"r", b"te": b"trailers"}
    assert (request.head.method, request.head.uri, request.body) == (b"POST", b"/x", b"hi")
    assert request.head.keep_alive
    assert not request.head.http10
    assert request.head.header(b"x-a") == b"1"
    assert request.head.header(b"te") == b"trailers"
    assert request.head.header(b"none") == b""


def test_headers_that_connection_names_are_dropped():
    request = only(read(HEAD + b"Connection: close, X-A\r\nX-A: 1\r\nX-B: 1\r\nConnection: x-b\r\nX-C: 1\r\n\r\n"))
    assert request.head.headers == ((b"X-C", b"1"),)
    assert not request.head.keep_alive


@pytest.mark.parametrize(
    ("head", "kept", "old"),
    [
        (b"GET / HTTP/1.1\r\nHost: r\r\n\r\n", True, False),
        (b"GET / HTTP/1.1\r\nHost: r\r\nConnection: Close\r\n\r\n", False, False),
        (b"GET / HTTP/1.0\r\n\r\n", False, True),
        (b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", True, True),
    ],
)
def test_whether_the_connection_is_kept(head: bytes, kept: bool, old: bool):
    request = only(read(head))
    assert (request.head.keep_alive, request.head.http10) == (kept, old)


@pytest.mark.parametrize("body", [b"", b"hello"])
@pytest.mark.parametrize("connection", [b"Upgrade, HTTP2-Settings", b"close, Upgrade"])
def test_an_upgrade_is_read_as_if_it_were_not_there(body: bytes, connection: bytes):
    head = HEAD + b"Connection: %b\r\nUpgrade: h2c\r\nHTTP2-Settings: A\r\nX-A: 1\r\nContent-Length: %d\r\n\r\n"
    request = only(read(head % (connection, len(body)) + body))
    assert request.body == body
    assert request.head.headers == ((b"X-A", b"1"),)
    assert b"upgrade" not in request.head.special
    assert request.head.keep_alive is (b"close" not in connection)


def test_many_upgrades_in_one_packet():
    reader = read(b"GET / HTTP/1.1\r\nHost: r\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n" * MAX_PIPELINED)
    assert reader.error is None
    assert len(reader.ready) == MAX_PIPELINED


def test_what_comes_before_an_error_is_ready():
    reader = read(HEAD + b"\r\n" + HEAD + b"\r\n" + b"nonsense\r\n\r\n")
    assert len(reader.ready) == 2
    assert isinstance(reader.error, BadRequest)


def test_connect_is_not_for_us():
    assert isinstance(read(b"CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n").error, NotAllowed)


@pytest.mark.parametrize(
    "fields", [b"Content-Length: 1001\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n3E9\r\n" + b"x" * 1001]
)
def test_the_limit_of_the_body(fields: bytes):
    assert isinstance(read(HEAD + fields).error, TooLarge)


@pytest.mark.parametrize("fields", [b"Content-Length: 1000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n3E8\r\n"])
def test_a_body_of_just_the_limit(fields: bytes):
    end = b"\r\n0\r\n\r\n" if b"chunked" in fields else b""
    assert len(only(read(HEAD + fields + b"x" * 1000 + end)).body) == 1000


def test_the_limits_of_the_head():
    assert isinstance(read(HEAD + b"A: 1\r\n" * (MAX_HEADERS + 1) + b"\r\n").error, HeadTooLarge)
    assert read(HEAD + b"A: 1\r\n" * MAX_HEADERS + b"\r\n").error is None
    assert isinstance(read(HEAD, *[b"A: %b\r\n" % (b"x" * 1000)] * 70).error, HeadTooLarge)
    assert isinstance(read(HEAD + b"A: ", *[b"x" * 1000] * 70).error, HeadTooLarge)
    assert isinstance(read(b"GET /", *[b"x" * 1000] * 70).error, HeadTooLarge)


def test_trailers_have_the_limit_of_a_head():
    trailers = HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nA: "
    assert isinstance(read(trailers, *[b"x" * 1000] * 70).error, HeadTooLarge)
    assert only(read(trailers + b"1\r\n\r\n")).head.headers == ()


def test_bodies_do_not_count_as_head():
    """Neither their own bytes, nor the sizes of their chunks, nor what was read of the request before."""
    chunks = [b"1\r\n", b"x\r\n"] * (MAX_HEAD_BYTES // 2)
    reader = read(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *chunks, b"0\r\n\r\n" + HEAD, max_body=10**6)
    assert reader.error is None
    assert len(reader.ready.popleft().body) == MAX_HEAD_BYTES // 2
    reader.feed(b"A: " + b"x" * 40_000)
    reader.feed(b"\r\n\r\n")
    assert only(reader).head.headers[0][0] == b"A"


def test_many_small_pieces_make_one_body():
    size = 3 * MAX_BODY_PIECES + 7
    fields = HEAD + b"Content-Length: %d\r\n\r\n" % size
    body = bytes(n % 251 for n in range(size))
    assert only(read(fields, *[body[n : n + 1] for n in range(size)], max_body=size)).body == body


def test_when_a_client_waits_for_100_continue():
    fields = HEAD + b"Content-Length: 2\r\nExpect: 100-Continue \r\n\r\n"
    reader = read(fields)
    assert reader.wants_continue
    reader.feed(b"hi")
    assert not reader.wants_continue
    assert not read(fields + b"hi").wants_continue
    assert not read(fields.replace(b"1.1", b"1.0")).wants_continue


@pytest.mark.parametrize(
    ("uri", "origin"),
    [
        (b"http://h:1/a?b=http://c/", b"/a?b=http://c/"),
        (b"http://h", b"/"),
        (b"https://h?a", b"/?a"),
        (b"*", b"*"),
        (b"HTTP://u:p@[::1]:1/", b"/"),
    ],
)
def test_targets_of_other_forms(uri: bytes, origin: bytes):
    assert origin_form(uri) == origin
    method = b"OPTIONS" if uri == b"*" else b"GET"
    assert only(read(b"%b %b HTTP/1.1\r\nHost: r\r\n\r\n" % (method, uri))).head.uri == origin


bodies = st.binary(max_size=300)


@given(st.lists(st.tuples(bodies, st.booleans()), min_size=1, max_size=5), st.lists(st.integers(1, 200)))
def test_however_requests_are_split_they_are_the_same(requests: list[tuple[bytes, bool]], cuts: list[int]):
    sent = b""
    for body, chunked in requests:
        if chunked:
            pieces = [body[at : at + 50] for at in range(0, len(body), 50)]
            sent += HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
            sent += b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"
        else:
            sent += HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    parts, rest = [], sent
    for cut in cuts:
        parts.append(rest[:cut])
        rest = rest[cut:]
    reader = read(*parts, rest)
    assert reader.error is None
    assert [r.body for r in reader.ready] == [body for body, _ in requests]
    assert not reader.begun


@given(st.binary(max_size=400))
def test_nothing_makes_it_raise(data: bytes):
    read(data)
    read(HEAD + data)
    read(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + data)


def test_a_client_sends_so_many_requests_ahead_and_no_more():
    request = HEAD + b"\r\n"
    reader = read(request * MAX_PIPELINED)
    assert (len(reader.ready), reader.error) == (MAX_PIPELINED, None)
    reader = read(request * 2000)
    assert len(reader.ready) == MAX_PIPELINED
    assert isinstance(reader.error, BadRequest)


@pytest.mark.parametrize("digits", ["0" * 21, "0" * 5000 + "1", "9" * 5000])
def test_a_length_of_too_many_digits_is_refused(digits: str):
    assert isinstance(read(HEAD + f"Content-Length: {digits}\r\n\r\n".encode()).error, BadRequest)
