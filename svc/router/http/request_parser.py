"""Parses HTTP/1.1 requests: llhttp's events become whole requests, within limits.

llhttp is strict, and no other code interprets a message: Content-Length together with Transfer-Encoding, two lengths,
bare CR or LF, and folded headers are all refused.
"""

from collections import deque
from typing import Any

import httptools

from svc.base.errors import BadRequest, HeadTooLarge, NotAllowed, SvcError, TooLarge
from svc.router.http.request import Request, RequestHead, drop_hop_headers, origin_form
from svc.router.http.request_head_cache import RequestHeadCache
from svc.router.http.sized_body import MAX_BODY_PIECES, SizedBody

MAX_HEAD_BYTES = 64 << 10  # bytes of request line and headers
MAX_HEADERS = 128
UNCACHEABLE_HEADERS = (b"transfer-encoding", b"expect", b"upgrade")  # what follows is no plain body of a known length
MAX_PIPELINED = 16  # requests that are read before the first is answered: each takes memory and time
MAX_LENGTH_DIGITS = 20  # digits of a Content-Length of 64 bits; Python's int() refuses more than 4,300
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class RequestParser:
    """The parser of one connection's requests: `feed` takes bytes, `ready` contains the requests that are complete.

    If a request cannot be served, `error` is set, and `ready` contains the requests before it. If a request asks to
    change the protocol, `bytes_after_upgrade` contains the bytes after this request. In both cases `feed` must not be
    called any more. `arriving`: the head of a request has arrived, and its body is incomplete.
    """

    __slots__ = (
        "_body",
        "_head",
        "_head_size",
        "_headers",
        "_heads",
        "_http10",
        "_in_head",
        "_head_bytes_in_row",
        "_parser",
        "_sized",
        "_special",
        "arriving",
        "begun",
        "body_size",
        "bytes_after_upgrade",
        "error",
        "max_body",
        "ready",
        "uri",
        "upgrading",
        "wants_continue",
    )
    _parser: Any  # a parser of httptools; its types do not allow None
    _body: list[bytes | bytearray]
    body_size: int
    _head: RequestHead | None
    _http10: bool
    _special: dict[bytes, bytes]
    _sized: SizedBody | None  # the incomplete body of a request whose head was in the cache
    _head_bytes_in_row: int  # bytes of head or trailers since the last byte of a body or the last whole request

    def __init__(self, max_body: int, heads: RequestHeadCache | None = None) -> None:
        self.max_body = max_body
        self._heads = heads or RequestHeadCache()
        self.ready: deque[Request] = deque()
        self.error: SvcError | None = None
        self.wants_continue = False
        self.bytes_after_upgrade = b""
        self.upgrading = False
        self._parser = httptools.HttpRequestParser(self)
        self.on_message_begin()
        self.begun = False  # whether part of a request has been read
        self._sized = None

    def feed(self, data: bytes) -> None:
        """Parse more bytes of the connection."""
        if self._sized is not None:
            self._continue_sized(self._sized, data)
        elif self.begun:
            self._parse(data)
        elif (cached := self._heads.find(data)) and len(data) + cached[2] - cached[1] <= self.max_body:
            head, start, missing = cached
            if missing:
                self._begin_sized(head, memoryview(data)[start:], missing)
            else:
                self.ready.append(Request(head, data[start:]))
        else:
            before = len(self.ready)
            self._parse(data)
            if self.error is not None:
                return
            if len(self.ready) == before + 1 and not self.begun:
                self._cache_head(data, self.ready[-1].head, len(self.ready[-1].body))
            elif len(self.ready) == before and self.arriving:
                self._cache_head(data, self.head(), self.declared_size())

    def head(self) -> RequestHead:
        """Return the head of the request whose body is arriving."""
        if self._head is None:
            uri = self.uri if self.uri[:1] == b"/" else origin_form(self.uri)
            method, keep_alive = self._parser.get_method(), self._parser.should_keep_alive()
            self._head = self._heads.make(method, uri, self._headers, self._special, self._http10, keep_alive)
        return self._head

    def declared_size(self) -> int:
        """Return the Content-Length of the request that is being read; 0 if it has none."""
        if self._sized is not None:
            return self.body_size + self._sized.missing
        return int(self._special.get(b"content-length") or 0)

    @property
    def origin(self) -> bytes:
        """The Origin header of the request that is being read; empty if that header has not arrived."""
        return self._special.get(b"origin", b"")

    def _begin_sized(self, head: RequestHead, first: memoryview, missing: int) -> None:
        """Begin a request whose cached head has arrived: the rest of its body needs no parser."""
        self._head, self._special, self.uri = head, head.special, head.uri
        self._sized = SizedBody(first, missing)
        self.body_size = len(first)
        self.begun = self.arriving = True

    def _continue_sized(self, body: SizedBody, data: bytes) -> None:
        rest = body.add(data)
        self.body_size += len(data) - len(rest)
        if not body.missing:
            assert self._head is not None
            self.ready.append(Request(self._head, body.join()))
            self._sized = self._head = None
            self.begun = self.arriving = False
            if rest:
                self.feed(rest)

    def _cache_head(self, data: bytes, head: RequestHead, length: int) -> None:
        """Cache the head of a request. A head with a request id or a trace id is not cached: it does not come again."""
        if (
            head.keep_alive
            and not (head.http10 or head.id or head.traced)
            and head.special.keys().isdisjoint(UNCACHEABLE_HEADERS)
        ):
            self._heads.add(data, head, length if head.has_body else None)

    def _parse(self, data: bytes) -> None:
        before, size, rest = len(self.ready), self.body_size, data
        while rest:
            try:
                self._parser.feed_data(rest)
                break
            except httptools.HttpParserUpgrade as upgrade:
                rest = rest[upgrade.args[0] :]
                if self.ready[-1].head.upgrade:
                    self.bytes_after_upgrade, self.upgrading = rest, True
                    return
                rest = self._ignore_upgrade(rest)
            except httptools.HttpParserCallbackError as error:
                if not isinstance(error.__context__, SvcError):
                    raise
                self.error = error.__context__
                return
            except httptools.HttpParserError as error:
                self.error = BadRequest(f"cannot read the request: {error}")
                return
        if self.begun:
            progress = len(self.ready) != before or self.body_size != size
            self._head_bytes_in_row = 0 if progress else self._head_bytes_in_row + len(data)
            if self._head_bytes_in_row > MAX_HEAD_BYTES:
                self.error = HeadTooLarge(f"the request's head, or its trailers, are over {MAX_HEAD_BYTES} bytes")

    def discard_body(self) -> None:
        """Free the part of a refused body that has arrived: the connection may stay open for a while."""
        self._body = []
        self._sized = None

    def close(self) -> None:
        """Break the parser's reference cycles: only a garbage collection would free a large body in a cycle."""
        self._parser = None  # the parser refers to this object
        self.error = None  # the frames in its traceback refer to this object, too

    def _ignore_upgrade(self, rest: bytes) -> bytes:
        """Return the bytes of the last request, without its Upgrade, to be parsed again.

        A server may ignore Upgrade (RFC 9110, 7.8). `rest`: the bytes after the request's head. If the method is
        CONNECT, set `error` and return no bytes, because CONNECT is refused.
        """
        head = self.ready.pop().head
        if head.method == b"CONNECT":
            self.error = NotAllowed("CONNECT is not supported")
            return b""
        self._parser = httptools.HttpRequestParser(self)
        headers = [*head.headers, *((k, v) for k, v in self._special.items() if k not in (b"upgrade", b"connection"))]
        headers.append((b"connection", b"keep-alive" if head.keep_alive else b"close"))
        return b"%b %b HTTP/1.%d\r\n%b\r\n%b" % (
            head.method,
            head.uri,
            0 if head.http10 else 1,
            b"".join(b"%b: %b\r\n" % h for h in headers),
            rest,
        )

    # Callbacks of llhttp.

    def on_message_begin(self) -> None:
        if len(self.ready) >= MAX_PIPELINED:
            raise BadRequest(
                f"over {MAX_PIPELINED} requests were sent before the first was answered; wait for answers, or use "
                "more connections"
            )
        self.uri = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._special = {}
        self._body = []
        self._head = None
        self.body_size = self._head_size = self._head_bytes_in_row = 0
        self._in_head = self.begun = True
        self.arriving = False

    def on_url(self, url: bytes) -> None:
        self.uri += url
        self._head_size += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            return  # trailers are not passed on
        self._head_size += len(name) + len(value)
        if self._head_size > MAX_HEAD_BYTES or len(self._headers) >= MAX_HEADERS:
            raise HeadTooLarge(f"the request's head is over {MAX_HEAD_BYTES} bytes or {MAX_HEADERS} headers")
        key = name.lower()
        if key not in self._heads.not_passed:
            self._headers.append((name, value))
        elif key in self._special:
            if key == b"host":
                raise BadRequest("the request has two Host headers")
            self._special[key] += b", " + value
        else:
            self._special[key] = value

    def on_headers_complete(self) -> None:
        self._in_head, self.arriving = False, True
        version = self._parser.get_http_version()
        self._http10 = version == "1.0"
        if len(self._special) > 1 or version != "1.1" or b"host" not in self._special:
            self._check(version)

    def _check(self, version: str) -> None:
        special = self._special
        if len(special.get(b"content-length", b"")) > MAX_LENGTH_DIGITS:
            raise BadRequest(f"the request's Content-Length has over {MAX_LENGTH_DIGITS} digits")
        if version not in ("1.0", "1.1"):
            raise BadRequest(f"HTTP/{version} is not spoken here; use HTTP/1.1")
        if b"host" not in special and not self._http10:
            raise BadRequest("the request has no Host header")
        coding = special.get(b"transfer-encoding")
        if coding is not None and (self._http10 or coding.strip().lower() != b"chunked"):
            raise BadRequest("the request has a Transfer-Encoding other than chunked, or one in HTTP/1.0")
        if self.declared_size() > self.max_body:
            raise TooLarge(f"the request's body is over {self.max_body} bytes")
        if special.get(b"expect", b"").strip().lower() == b"100-continue" and not self._http10:
            self.wants_continue = True
        connection = special.get(b"connection", b"").lower()
        if connection and connection not in (b"keep-alive", b"close"):
            self._headers = list(drop_hop_headers(self._headers, connection))

    def on_body(self, data: bytes) -> None:
        self.body_size += len(data)
        if self.body_size > self.max_body:
            raise TooLarge(f"the request's body is over {self.max_body} bytes")
        body = self._body
        body.append(data)
        if len(body) > MAX_BODY_PIECES:
            gathered = body[0] if isinstance(body[0], bytearray) else bytearray(body[0])
            gathered += b"".join(body[1:])
            self._body = [gathered]

    def on_message_complete(self) -> None:
        self.wants_continue = self.begun = self.arriving = False
        body = self._body
        self.ready.append(Request(self.head(), bytes(body[0]) if len(body) == 1 else b"".join(body)))
        self._head = None
