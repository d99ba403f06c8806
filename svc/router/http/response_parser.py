"""Reading HTTP/1.1 answers: llhttp's events become a head, and a body that is taken as it comes."""

from typing import Any

import httptools

from svc.router.http.head_cache import HeadCache
from svc.router.http.request import drop_hop_headers
from svc.router.http.security_headers import ORIGIN_WIDE, security_headers
from svc.router.http.upstream_error import AttemptOutcome, UpstreamError

HEADER_LIMIT = 64 << 10

SWITCHING = 101  # to the protocol that the request has asked for
BODILESS = (204, 304)  # statuses whose answers end with their head (RFC 9112, 6.3)

# Meant for us alone (RFC 9110, 7.6.1), written anew for the client, or not an instance's to say.
NOT_PASSED = ORIGIN_WIDE | frozenset(
    b"connection keep-alive proxy-connection te trailer transfer-encoding upgrade proxy-authenticate "
    b"content-length x-request-id".split()
)


class ResponseHead:
    """What stands before an answer's body; `start` is it as a client gets it, up to the id of its request.

    `events`: a stream of events to which one could be added: its length is not told, and it is not compressed.
    `bodiless`: it ends with its head, whatever lengths that names.
    """

    __slots__ = ("bodiless", "events", "headers", "reason", "start", "status")

    def __init__(self, status: int, reason: bytes, headers: list[tuple[bytes, bytes]], sized: bool) -> None:
        self.status = status
        self.reason = reason
        self.bodiless = status in BODILESS
        told = {name.lower(): value for name, value in headers}
        content_type = told.get(b"content-type", b"")
        if status not in (SWITCHING, 204):  # a 304 replaces headers of the answer that the browser has kept
            headers = [*security_headers(headers, content_type, len(told) == len(headers)), *headers]
        self.headers = headers
        lines = b"".join([b"%b: %b\r\n" % header for header in headers])
        self.start = b"HTTP/1.1 %d %b\r\n%bx-request-id: " % (status, reason, lines)
        events = content_type.lower().startswith(b"text/event-stream")
        self.events = events and not sized and b"content-encoding" not in told


class ResponseParser:
    """Bytes of one answer in by `feed`; `body` has what came of its body and was not taken yet.

    `head` is None until it is there, `length` where it is not told, `between`
    whether the next byte is the first of a chunk. `persistent`: whether another
    message may follow on the connection. The parser says so once it has read this
    one to its end, but not of an answer to HEAD, since it cannot know that no body
    follows, nor once bytes came that belong to no answer.
    """

    __slots__ = (
        "_chunked",
        "_head_only",
        "_headers",
        "_interim",
        "_named",
        "_parser",
        "_protocol",
        "_reason",
        "_seen",
        "_size",
        "_upgrade",
        "between",
        "body",
        "done",
        "head",
        "length",
        "persistent",
        "until_close",
        "untouched",
    )

    def __init__(self, seen: HeadCache[ResponseHead]) -> None:
        self._seen = seen
        self._parser: Any = httptools.HttpResponseParser(self)
        self.body: list[bytes] = []
        self.begin(False)

    def begin(self, head_only: bool, upgrade: bool = False) -> None:
        """Another answer is to come; `head_only`: to a HEAD request; `upgrade`: it may change the protocol."""
        self.head: ResponseHead | None = None
        self.length: int | None = None
        self.done = self.persistent = self.between = self.until_close = self._interim = False
        self.untouched = True  # not a byte of an answer has come
        self._head_only = head_only
        self._upgrade = upgrade
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
            self._learn(data)
            return
        self.head, body = seen
        self.length = len(body)
        if body:
            self.body.append(body)
        self.done = self.persistent = True  # only such heads are remembered

    def _learn(self, data: bytes) -> None:
        """Remembers the head of a whole answer with a length: one like it may come again."""
        head = self.head
        if self.persistent and self.length is not None and head is not None and not head.bodiless:
            self._seen.learn(data, head, self.length)

    def _parse(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.persistent = False
            if isinstance(error, httptools.HttpParserUpgrade) and self.head and self.head.status == SWITCHING:
                self.body.append(data[error.args[0] :])  # the first bytes of the other protocol
                return
            if not self.done:
                raise UpstreamError(
                    f"its answer is not HTTP: {error.__context__ or error}", AttemptOutcome.BEGUN
                ) from None
        self.between = self.between and data[-1:] == b"\n"  # else the size of one has begun
        if self.head is None:
            self._size += len(data)
            if self._size > HEADER_LIMIT:
                raise UpstreamError(f"the head of its answer is over {HEADER_LIMIT} bytes", AttemptOutcome.BEGUN)

    def forget(self) -> None:
        """Undoes a cycle: the parser refers to us."""
        self._parser = None

    # What llhttp calls.

    def on_message_begin(self) -> None:
        if self.done:
            raise ValueError("more than one answer")
        self._headers: list[tuple[bytes, bytes]] = []  # what an interim answer said is gone
        self._reason = self._named = self._protocol = b""
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
        elif key == b"upgrade":
            self._protocol = value

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 100:
            raise ValueError(f"{status} is no status")
        if status == SWITCHING and not (self._upgrade and self._protocol and b"upgrade" in self._named):
            raise ValueError("it switches protocols unasked, or to none")
        if status < 200 and status != SWITCHING:
            self._interim = True
            return
        headers = self._headers
        if self._named and self._named not in (b"close", b"keep-alive"):
            headers = list(drop_hop_headers(headers, self._named))
        if status == SWITCHING:
            headers = [*headers, (b"Upgrade", self._protocol)]
        if status in (SWITCHING, 204):
            self.length = None  # a server must not send one (RFC 9110, 8.6)
        self.head = ResponseHead(status, self._reason, headers, self.length is not None)
        self.between = self._chunked
        if self._head_only:
            self.done = True  # and the parser waits for a body: this connection is not used again
        elif self.length is None and not self._chunked and status not in BODILESS:
            self.until_close = True

    def on_body(self, data: bytes) -> None:
        if self.done:  # the body of an answer to HEAD
            self.persistent = False
        else:
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
        self.persistent = self._parser.should_keep_alive() and not self._head_only
