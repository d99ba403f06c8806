"""HTTP/1.1 messages for fuzzing: valid, nearly valid, and invalid in the ways of request smuggling."""

from hypothesis import strategies as st

CRLF = b"\r\n"

tokens = st.text("abcXYZ09-_!#$%&'*+.^`|~", min_size=1, max_size=10).map(str.encode)
values = st.text('abc XYZ09\t,;="/()\\:é', max_size=20).map(lambda v: v.encode("latin-1").strip(b" \t"))
plain_headers = st.builds(lambda name, value: b"X-%b: %b" % (name, value), tokens, values)
hop_headers = st.sampled_from(
    [
        b"Connection: close",
        b"Connection: x-a, X-B",
        b"Connection: keep-alive",
        b"Keep-Alive: timeout=5",
        b"TE: trailers",
        b"Upgrade: h2c",
        b"Connection: Upgrade, HTTP2-Settings",
        b"Expect: 100-continue",
        b"Trailer: X-T",
        b"X-Forwarded-For: 1.2.3.4",
        b"x-request-id: abc",
        b"Proxy-Connection: keep-alive",
        b"X-A: 1",
        b"x-b: 2",
    ]
)
bodies = st.binary(max_size=200)
methods = st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE", b"PATCH", b"HEAD", b"OPTIONS"])
targets = st.sampled_from(
    [b"/", b"/v1/chat/completions", b"/a?b=c%20d&e=http://f/", b"//x", b"http://other/v1?x", b"/%00"]
)


@st.composite
def sound_requests(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Draw a valid request and its body."""
    headers = [b"Host: r", *draw(st.lists(plain_headers | hop_headers, max_size=5))]
    body = draw(bodies)
    chunked = draw(st.booleans())
    if chunked:
        headers.append(draw(st.sampled_from([b"Transfer-Encoding: chunked", b"transfer-encoding:  Chunked "])))
        sent = draw(chunks(body))
    else:
        headers.append(b"Content-Length: %d" % len(body))
        sent = body
    headers = draw(st.permutations(headers))
    line = b"%b %b HTTP/1.1" % (draw(methods), draw(targets))
    return CRLF.join([line, *headers, b"", sent]), body


@st.composite
def chunks(draw: st.DrawFn, body: bytes) -> bytes:
    sent, at = b"", 0
    while at < len(body):
        piece = body[at : at + draw(st.integers(1, 100))]
        size = draw(st.sampled_from([b"%x", b"%X", b"000%x"])) % len(piece)
        sent += size + draw(st.sampled_from([b"", b"", b";a=b", b';a="b"'])) + CRLF + piece + CRLF
        at += len(piece)
    trailers = draw(st.lists(st.sampled_from([b"X-T: 1", b"Host: evil"]), max_size=2))
    return sent + b"0\r\n" + b"".join(t + CRLF for t in trailers) + CRLF


odd_lengths = st.sampled_from(
    [
        b"Content-Length: 5",
        b"Content-Length: 6",
        b"Content-Length: +5",
        b"Content-Length: -1",
        b"Content-Length: 5, 5",
        b"Content-Length: 5,6",
        b"Content-Length: 0x5",
        b"Content-Length: 5 5",
        b"Content-Length:",
        b"Content-Length: 05",
        b"Content-Length: 18446744073709551621",
        b"Content-Length: 99999999999999999999999",
        b"Content-Length: 3000",
        b"Content-Length : 5",
        b"Content_Length: 5",
        b"Content-Length\t: 5",
        b" Content-Length: 5",
        b"Content-Length: \n5",
        b"Content-Length: 5\x0b",
        b"Content-Length: 5_0",
        b"Content-Length: \xb2",
        b"\x00Content-Length: 5",
    ]
)
odd_codings = st.sampled_from(
    [
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: Chunked",
        b"Transfer-Encoding:\tchunked\t",
        b"Transfer-Encoding:",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding: chunked, identity",
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: chunked, chunked",
        b"Transfer-Encoding: \x0bchunked",
        b"Transfer-Encoding : chunked",
        b"Transfer-Encoding\n: chunked",
        b"X: y\nTransfer-Encoding: chunked",
        b"X: y\rTransfer-Encoding: chunked",
        b"Transfer-Encoding:\r\n chunked",
        b"Transfer-Encoding: chu\r\n nked",
        b"Transfer-Encoding: chunked;q=1",
        b'Transfer-Encoding: "chunked"',
        b"Transfer_Encoding: chunked",
        b"Transfer-Encoding: chunked\x00",
        b"Transfer-Encoding: \xefchunked",
        b"Foo: bar\r\n\tTransfer-Encoding: chunked",
    ]
)
odd_headers = st.sampled_from(
    [
        b"Host: r",
        b"Host: evil",
        b"Host:",
        b"Host: a b",
        b": no name",
        b"No-Colon",
        b"X-A: a\rb",
        b"X-A: a\x00b",
        b"X-A: a\nb",
        b"X-A: one\r\n two",
        b"X A: 1",
        b"X-A:1\r",
        b"\tX-A: 1",
        b"X-A\x80: 1",
        b"X-A: \xff",
        b"X-A: a\x7fb",
        b"X-A: \x1b[0m",
        b"Connection: Transfer-Encoding",
        b"Connection: Content-Length, Host",
        b"Connection: close",
        b"Upgrade: h2c",
        b"Connection: Upgrade",
        b"Expect: 100-continue",
        b"Expect: 200-maybe",
        b"X-Forwarded-For: 1.2.3.4\r\n , 5",
        b"x-request-id: a\tb",
        b"x-request-id: \xff",
        b"X-Long: " + b"x" * 3000,
    ]
)
odd_lines = st.sampled_from(
    [
        b"POST / HTTP/1.1",
        b"POST / HTTP/1.0",
        b"POST http://evil/x HTTP/1.1",
        b"POST //evil/x HTTP/1.1",
        b"POST evil HTTP/1.1",
        b"POST /a b HTTP/1.1",
        b"POST  / HTTP/1.1",
        b"POST /\x00 HTTP/1.1",
        b"POST /\xff HTTP/1.1",
        b"POST / HTTP/1.2",
        b"POST / HTTP/2.0",
        b"POST / HTTP/0.9",
        b"POST /",
        b"post / HTTP/1.1",
        b"CONNECT evil:1 HTTP/1.1",
        b"PRI * HTTP/2.0",
        b"OPTIONS * HTTP/1.1",
        b"FOO / HTTP/1.1",
        b"GET / HTTP/1.1",
        b"HEAD / HTTP/1.1",
        b"POST / HTTP/1.1 ",
        b"POST\t/\tHTTP/1.1",
        b"POST http:///x HTTP/1.1",
        b"POST http://h\\x/ HTTP/1.1",
        b"POST http://h?a/b HTTP/1.1",
        b"POST /a#b HTTP/1.1",
        b"POST ftp:/x HTTP/1.1",
        b"POST h://a@b:1/%0d%0aX:1 HTTP/1.1",
        b"POST *x HTTP/1.1",
        b"SOURCE / ICE/1.0",
        b"\r\n\r\nGET / HTTP/1.1",
    ]
)
odd_sizes = st.sampled_from(
    [
        b"5",
        b"05",
        b"+5",
        b"-5",
        b"0x5",
        b"5 ",
        b" 5",
        b"5;a=b",
        b"5;a\nb",
        b"5;\r",
        b'5;a="\r\n"',
        b"5\n",
        b"5\r",
        b"",
        b"g",
        b"ffffffffffffffff",
        b"10000000000000005",
        b"5\x00",
        b"5\t",
        b"5;" + b"x" * 500,
        b"5_0",
        b"fff",
        b"0",
    ]
)
ends = st.sampled_from([CRLF, CRLF, CRLF, b"\n", b"\r", b"\r\r\n", b"\n\r\n", b"", b"\x00\r\n"])


@st.composite
def odd_requests(draw: st.DrawFn) -> bytes:
    """Draw bytes in the shape of a request, with some parts invalid."""
    headers = draw(st.lists(odd_headers | plain_headers, max_size=3))
    headers += draw(st.lists(odd_lengths, max_size=2)) + draw(st.lists(odd_codings, max_size=2))
    if draw(st.integers(0, 4)):
        headers.append(b"Host: r")
    message = draw(odd_lines) + CRLF + b"".join(h + draw(ends) for h in draw(st.permutations(headers))) + draw(ends)
    for _ in range(draw(st.integers(0, 2))):
        message += draw(odd_sizes) + draw(ends) + b"hello" + draw(ends)
    return message + draw(
        st.sampled_from(
            [
                b"",
                b"0\r\n\r\n",
                b"0\r\nX: y\n\r\n",
                b"0\r\nContent-Length: 9\r\n\r\n",
                b"hello",
                b"0\n\n",
                b"GET /evil HTTP/1.1\r\nHost: r\r\n\r\n",
            ]
        )
    )


@st.composite
def split(draw: st.DrawFn, streams: st.SearchStrategy[bytes]) -> tuple[bytes, list[bytes]]:
    """Draw bytes, and the same bytes in parts."""
    data = draw(streams)
    if draw(st.integers(0, 9)) == 0:
        return data, [data[n : n + 1] for n in range(len(data))]
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))
    return data, [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Draw a valid request in which some bytes were changed, removed or added."""
    data = bytearray(draw(sound_requests())[0])
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        inserted = draw(
            st.sampled_from([b"", b"\r", b"\n", b"\0", b" ", b"\t", b":", b",", b"\r\n", b"0", b"\xff", b"5\r\n", b";"])
        )
        data[at : at + draw(st.integers(0, 2))] = inserted
    return bytes(data)


broken = st.lists(odd_requests() | mutated() | sound_requests().map(lambda r: r[0]), min_size=1, max_size=3).map(
    b"".join
)


# Responses.


@st.composite
def sound_answers(draw: st.DrawFn) -> bytes:
    body = draw(bodies)
    status = draw(st.sampled_from([b"200 OK", b"500 Oh no", b"404 ", b"204 No", b"304 Not"]))
    kind = draw(st.integers(0, 2)) if status[:3] not in (b"204", b"304") else 3
    sized = [b"Content-Length: %d" % len(body), b"Transfer-Encoding: chunked", b"Connection: close", b"X-A: 1"][kind]
    headers = draw(st.permutations([sized, *draw(st.lists(plain_headers, max_size=3))]))
    sent = [body, draw(chunks(body)), body, b""][kind]
    interim = draw(
        st.sampled_from([b"", b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n"])
    )
    return interim + CRLF.join([b"HTTP/1.1 " + status, *headers, b"", sent])


@st.composite
def framed_answers(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Draw a response that states its own length, and its body."""
    body = draw(bodies)
    sized = draw(st.booleans())
    framing = b"Content-Length: %d" % len(body) if sized else b"Transfer-Encoding: chunked"
    headers = draw(st.permutations([framing, *draw(st.lists(plain_headers, max_size=2))]))
    return CRLF.join([b"HTTP/1.1 200 OK", *headers, b"", body if sized else draw(chunks(body))]), body


odd_answer_lines = st.sampled_from(
    [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.0 200 OK",
        b"HTTP/1.1 200",
        b"HTTP/1.1 999 X",
        b"HTTP/1.1 99 X",
        b"HTTP/1.1 1000 X",
        b"HTTP/1.1 0 X",
        b"HTTP/1.1 100 Continue",
        b"HTTP/1.1 101 Switching",
        b"HTTP/1.1 204 No",
        b"HTTP/1.1 304 Not",
        b"HTTP/2 200",
        b"HTTP/1.1 2OO OK",
        b"HTTP/1.1 200 \xff\x00",
        b"HTTP/1.1  200 OK",
        b"ICY 200 OK",
        b"200 OK",
        b"",
        b"GET / HTTP/1.1",
        b"HTTP/1.1 -200 OK",
        b"HTTP/1.1 200 O\rK",
    ]
)


@st.composite
def odd_answers(draw: st.DrawFn) -> bytes:
    headers = draw(st.lists(odd_headers | plain_headers | odd_lengths | odd_codings, max_size=4))
    message = draw(odd_answer_lines) + CRLF + b"".join(h + draw(ends) for h in headers) + draw(ends)
    for _ in range(draw(st.integers(0, 2))):
        message += draw(odd_sizes) + draw(ends) + b"hello" + draw(ends)
    return message + draw(
        st.sampled_from([b"", b"0\r\n\r\n", b"hello", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"])
    )


@st.composite
def broken_answers(draw: st.DrawFn) -> bytes:
    data = draw(odd_answers() | sound_answers() | sound_answers() | st.binary(max_size=100))
    data = data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data
    return data + draw(st.sampled_from([b"", b"", b"x", CRLF, b"HTTP/1.1 200 OK\r\n\r\n", b"\x00" * 50]))
