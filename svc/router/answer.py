"""Reading HTTP/1.1 answers: llhttp's events become a head, and a body that is taken as it comes."""

from typing import Any

import httptools

from svc.router.request import unnamed
from svc.router.seen import Seen

HEADER_LIMIT = 64 << 10

# Meant for us alone (RFC 9110, 7.6.1), or written anew for the client.
NOT_PASSED = frozenset(
    b"connection keep-alive proxy-connection te trailer transfer-encoding upgrade proxy-authenticate "
    b"content-length x-request-id".split()
)


class UpstreamError(Exception):
    """An instance could not be asked, or did not answer as HTTP does; `processed` when it may have done the work."""

    def __init__(self, message: str, *, processed: bool = False, timeout: bool = False) -> None:
        super().__init__(message)
        self.processed = processed
        self.timeout = timeout


class AnswerHead:
    """What stands before an answer's body; `start` is it as a client gets it, up to the id of its request.

    `events`: a stream of events to which one could be added: its length is not told, and it is not compressed.
    """

    __slots__ = ("events", "headers", "reason", "start", "status")

    def __init__(self, status: int, reason: bytes, headers: list[tuple[bytes, bytes]], sized: bool) -> None:
        self.status = status
        self.reason = reason
        self.headers = headers
        lines = b"".join([b"%b: %b\r\n" % header for header in headers])
        self.start = b"HTTP/1.1 %d %b\r\n%bx-request-id: " % (status, reason, lines)
        told = {name.lower(): value for name, value in headers}
        events = told.get(b"content-type", b"").lower().startswith(b"text/event-stream")
        self.events = events and not sized and b"content-encoding" not in told


class AnswerReader:
    """Bytes of one answer in by `feed`; `take` has what came of its body.

    `head` is None until it is there, `length` where it is not told, `between`
    whether the next byte is the first of a chunk.
    """

    __slots__ = (
        "_chunked", "_head_only", "_headers", "_interim", "_named", "_parser", "_reason", "_seen", "_size",
        "between", "body", "done", "head", "keep", "length", "until_close", "untouched",
    )  # fmt: skip

    def __init__(self, seen: Seen[AnswerHead]) -> None:
        self._seen = seen
        self._parser: Any = httptools.HttpResponseParser(self)
        self.body: list[bytes] = []
        self.begin(False)

    def begin(self, head_only: bool) -> None:
        """Another answer is to come; `head_only`: to a HEAD request."""
        self.head: AnswerHead | None = None
        self.length: int | None = None
        self.done = self.keep = self.between = self.until_close = self._interim = False
        self.untouched = True  # not a byte of an answer has come
        self._head_only = head_only
        self._size = 0

    def feed(self, data: bytes) -> None:
        """Raises UpstreamError for what is not HTTP."""
        if not self.untouched:
            self._parse(data)
            return
        self.untouched = False
        seen = None if self._head_only else self._seen.find(data)
        if seen is None:
            self._parse(data)
            if self.done and self.keep and self.head is not None and self.length is not None and not self._head_only:
                self._seen.learn(data, self.head, self.length)
            return
        self.head, body = seen
        self.length = len(body)
        if body:
            self.body.append(body)
        self.done = self.keep = True

    def _parse(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.keep = False
            if not self.done:
                raise UpstreamError(f"its answer is not HTTP: {error.__context__ or error}", processed=True) from None
        self.between = self.between and data[-1:] == b"\n"  # else the size of one has begun
        if self.head is None:
            self._size += len(data)
            if self._size > HEADER_LIMIT:
                raise UpstreamError(f"the head of its answer is over {HEADER_LIMIT} bytes", processed=True)

    def forget(self) -> None:
        """Undoes a cycle: the parser refers to us."""
        self._parser = None

    # What llhttp calls.

    def on_message_begin(self) -> None:
        if self.done:
            raise ValueError("more than one answer")
        self._headers: list[tuple[bytes, bytes]] = []  # what an interim answer said is gone
        self._reason = self._named = b""
        self.length, self._chunked = None, False

    def on_status(self, reason: bytes) -> None:
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.head is not None:
            return  # trailers end here
        key = name.lower()
        if key not in NOT_PASSED:
            self._headers.append((name, value))
        elif key == b"content-length":
            self.length = int(value)
        elif key == b"transfer-encoding":
            if value.strip().lower() != b"chunked":
                raise ValueError("a transfer coding that nobody asked for")
            self._chunked = True
        elif key == b"connection":
            self._named = value.lower()

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status == 101:
            raise ValueError("it switches protocols unasked")
        if status < 200:
            self._interim = True
            return
        headers = self._headers
        if self._named and self._named not in (b"close", b"keep-alive"):
            headers = list(unnamed(headers, self._named))
        if status == 204:
            self.length = None
        self.head = AnswerHead(status, self._reason, headers, self.length is not None)
        self.between = self._chunked
        if self._head_only:
            self.done = True  # and the parser waits for a body: this connection is not used again
        elif self.length is None and not self._chunked and status not in (204, 304):
            self.until_close = True

    def on_body(self, data: bytes) -> None:
        self.body.append(data)

    def on_chunk_header(self) -> None:
        self.between = False

    def on_chunk_complete(self) -> None:
        self.between = True

    def on_message_complete(self) -> None:
        if self._interim:
            self._interim = False
            return
        self.done = True
        self.keep = self._parser.should_keep_alive()
