"""Parses HTTP/1.1 responses: llhttp's events become a head and the parts of a body, as they arrive."""

from typing import Any

import httptools

from svc.router.http.head_cache import HeadCache
from svc.router.http.request import drop_hop_headers
from svc.router.http.security_headers import ORIGIN_WIDE, security_headers
from svc.router.http.upstream_error import AttemptOutcome, UpstreamError

MAX_RESPONSE_HEAD_BYTES = 64 << 10

STATUS_SWITCHING_PROTOCOLS = 101
BODILESS_STATUSES = (204, 304)  # responses that end with their head (RFC 9112, 6.3)

# Headers that are only for this hop (RFC 9110, 7.6.1), written anew for the client, or reserved to the router.
DROPPED_HEADERS = ORIGIN_WIDE | frozenset(
    b"connection keep-alive proxy-connection te trailer transfer-encoding upgrade proxy-authenticate "
    b"content-length x-request-id".split()
)


class ResponseHead:
    """The head of a response. `start`: the bytes of the head for the client, up to the value of x-request-id.

    `streams`: the response is an event stream. `events`: it is an event stream without Content-Length that is not
    compressed, so that the router can add an event. `bodiless`: the response ends with its head, whatever its
    Content-Length.
    """

    __slots__ = ("bodiless", "events", "headers", "reason", "start", "status", "streams")

    def __init__(self, status: int, reason: bytes, headers: list[tuple[bytes, bytes]], sized: bool) -> None:
        self.status = status
        self.reason = reason
        self.bodiless = status in BODILESS_STATUSES
        by_name = {name.lower(): value for name, value in headers}
        content_type = by_name.get(b"content-type", b"")
        # A 304 gets security headers too: it replaces the headers of the response in the browser's cache.
        if status not in (STATUS_SWITCHING_PROTOCOLS, 204):
            headers = [*security_headers(headers, content_type, len(by_name) == len(headers)), *headers]
        self.headers = headers
        lines = b"".join([b"%b: %b\r\n" % header for header in headers])
        self.start = b"HTTP/1.1 %d %b\r\n%bx-request-id: " % (status, reason, lines)
        self.streams = content_type.lower().startswith(b"text/event-stream")
        self.events = self.streams and not sized and b"content-encoding" not in by_name


class ResponseParser:
    """The parser of responses: `feed` takes the bytes of one response, `body` contains the unread parts of its body.

    `head` is None until the head has arrived. `length` is None if the length of the body is unknown.
    `at_chunk_boundary`: the next byte is the first of a chunk. `persistent`: another message may follow on the
    connection; this is known once the response has ended. `persistent` is False after a response to HEAD, because
    llhttp does not know that no body follows, and after bytes that belong to no response.
    """

    __slots__ = (
        "_chunked",
        "_head_only",
        "_headers",
        "_is_interim",
        "_connection_header",
        "_parser",
        "_upgrade_header",
        "_reason",
        "_head_cache",
        "_size",
        "_upgrade",
        "at_chunk_boundary",
        "body",
        "done",
        "head",
        "length",
        "persistent",
        "until_close",
        "nothing_received",
    )

    def __init__(self, head_cache: HeadCache[ResponseHead]) -> None:
        self._head_cache = head_cache
        self._parser: Any = httptools.HttpResponseParser(self)  # httptools has no types
        self.body: list[bytes] = []
        self.begin(False)

    def begin(self, head_only: bool, upgrade: bool = False) -> None:
        """Prepare for the next response. `head_only`: its request is a HEAD; `upgrade`: it may change the protocol."""
        self.head: ResponseHead | None = None
        self.length: int | None = None
        self.done = self.persistent = self.at_chunk_boundary = self.until_close = self._is_interim = False
        self.nothing_received = True
        self._head_only = head_only
        self._upgrade = upgrade
        self._size = 0

    def feed(self, data: bytes) -> None:
        """Parse more bytes of the connection; raise UpstreamError for bytes that are not HTTP."""
        if not self.nothing_received:
            self._parse(data)
            return
        self.nothing_received = False
        cached = None if self._head_only else self._head_cache.find(data)
        if cached is None or cached[2]:
            self._parse(data)
            self._cache_head(data)
            return
        self.head, start, _ = cached
        self.length = len(data) - start
        if self.length:
            self.body.append(data[start:])
        self.done = self.persistent = True  # only heads of persistent responses are cached

    def _cache_head(self, data: bytes) -> None:
        """Cache the head of a whole response with a Content-Length, because a similar response may follow."""
        head = self.head
        if self.persistent and self.length is not None and head is not None and not head.bodiless:
            self._head_cache.add(data, head, self.length)

    def _parse(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.persistent = False
            if (
                isinstance(error, httptools.HttpParserUpgrade)
                and self.head
                and self.head.status == STATUS_SWITCHING_PROTOCOLS
            ):
                self.body.append(data[error.args[0] :])  # the first bytes of the other protocol
                return
            if not self.done:
                raise UpstreamError(
                    f"its answer is not HTTP: {error.__context__ or error}", AttemptOutcome.BEGUN
                ) from None
        # If the last byte is not a line end, the size of the next chunk has begun.
        self.at_chunk_boundary = self.at_chunk_boundary and data[-1:] == b"\n"
        if self.head is None:
            self._size += len(data)
            if self._size > MAX_RESPONSE_HEAD_BYTES:
                raise UpstreamError(
                    f"the head of its answer is over {MAX_RESPONSE_HEAD_BYTES} bytes", AttemptOutcome.BEGUN
                )

    def release_parser(self) -> None:
        """Break a reference cycle: the parser refers to this object."""
        self._parser = None

    # Callbacks of llhttp.

    def on_message_begin(self) -> None:
        if self.done:
            raise ValueError("more than one answer")
        self._headers: list[tuple[bytes, bytes]] = []  # emptied: the headers of an interim response are dropped
        self._reason = self._connection_header = self._upgrade_header = b""
        self.length, self._chunked = None, False

    def on_status(self, reason: bytes) -> None:
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.head is not None:
            return  # trailers are not passed on
        key = name.lower()
        if key not in DROPPED_HEADERS:
            self._headers.append((name, value))
        elif key == b"content-length":
            self.length = int(value)
        elif key == b"transfer-encoding":
            if value.strip().lower() != b"chunked":
                raise ValueError("a transfer coding that was not requested")
            self._chunked = True
        elif key == b"connection":
            self._connection_header = value.lower()
        elif key == b"upgrade":
            self._upgrade_header = value

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 100:
            raise ValueError(f"{status} is no status")
        if status == STATUS_SWITCHING_PROTOCOLS and not (
            self._upgrade and self._upgrade_header and b"upgrade" in self._connection_header
        ):
            raise ValueError("it switches protocols unasked, or to none")
        if status < 200 and status != STATUS_SWITCHING_PROTOCOLS:
            self._is_interim = True
            return
        headers = self._headers
        if self._connection_header and self._connection_header not in (b"close", b"keep-alive"):
            headers = list(drop_hop_headers(headers, self._connection_header))
        if status == STATUS_SWITCHING_PROTOCOLS:
            headers = [*headers, (b"Upgrade", self._upgrade_header)]
        if status in (STATUS_SWITCHING_PROTOCOLS, 204):
            self.length = None  # a server must not send Content-Length with these statuses (RFC 9110, 8.6)
        self.head = ResponseHead(status, self._reason, headers, self.length is not None)
        self.at_chunk_boundary = self._chunked
        if self._head_only:
            self.done = True  # the parser still waits for a body: the connection is not used again
        elif self.length is None and not self._chunked and status not in BODILESS_STATUSES:
            self.until_close = True

    def on_body(self, data: bytes) -> None:
        if self.done:  # an instance must not send a body in response to HEAD
            self.persistent = False
        else:
            self.body.append(data)

    def on_chunk_header(self) -> None:
        self.at_chunk_boundary = False

    def on_chunk_complete(self) -> None:
        self.at_chunk_boundary = True

    def on_message_complete(self) -> None:
        if self._is_interim:
            self._is_interim = False
            return
        self.done = True
        self.persistent = self._parser.should_keep_alive() and not self._head_only
