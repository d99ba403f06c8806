"""Reading HTTP/1.1 requests: llhttp's events become whole requests, within limits.

llhttp is strict, and its verdict is the only reading of a message: both
lengths at once, two lengths, bare CR or LF, folded headers are all refused.
"""

import re
from collections import deque
from collections.abc import Iterator

import httptools

from svc.errors import BadRequest, HeadTooLarge, NotAllowed, SvcError, TooLarge

HEAD_LIMIT = 64 << 10  # bytes of request line and headers
HEADER_COUNT = 128
PIECES = 4096  # of a body, before they are put together: many small ones weigh more than what is in them

# Meant for us alone (RFC 9110, 7.6.1), or written anew for the instance.
NOT_PASSED = frozenset(
    b"connection keep-alive proxy-connection te trailer transfer-encoding upgrade http2-settings "
    b"proxy-authorization content-length expect host x-forwarded-for x-request-id x-served-by".split()
)
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
AUTHORITY = re.compile(rb"[a-zA-Z][a-zA-Z0-9+.-]*://[^/?#]*")


class Request:
    """One request, whole. `headers` are those that pass on; `special` has the others, by lower-case name."""

    __slots__ = ("body", "headers", "http10", "keep_alive", "method", "special", "target")

    def __init__(
        self,
        method: bytes,
        target: bytes,
        headers: list[tuple[bytes, bytes]],
        special: dict[bytes, bytes],
        body: bytes,
        http10: bool = False,
        keep_alive: bool = True,
    ) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.special = special
        self.body = body
        self.http10 = http10
        self.keep_alive = keep_alive

    def has_body(self) -> bool:
        return bool(self.body) or b"content-length" in self.special or b"transfer-encoding" in self.special

    def header(self, name: bytes) -> bytes:
        """The first value under `name` (lower case), or nothing."""
        if name in self.special:
            return self.special[name]
        return next((value for key, value in self.headers if key.lower() == name), b"")


class RequestReader:
    """Bytes in by `feed`, whole requests out of `ready`.

    What cannot be served is left in `error`, behind the requests that came
    before it; nothing is fed any more then.
    """

    __slots__ = (
        "_body", "_body_size", "_head_size", "_headers", "_http10", "_in_head", "_no_body", "_parser", "_special",
        "begun", "error", "max_body", "ready", "target", "wants_continue",
    )  # fmt: skip
    _body_size: int
    _no_body: int  # bytes in a row that were head or trailers

    def __init__(self, max_body: int) -> None:
        self.max_body = max_body
        self.ready: deque[Request] = deque()
        self.error: SvcError | None = None
        self.wants_continue = False
        self._parser = httptools.HttpRequestParser(self)
        self.on_message_begin()
        self.begun = False  # whether part of a request has been read

    def feed(self, data: bytes) -> None:
        before, size, rest = len(self.ready), self._body_size, data
        while rest:
            try:
                self._parser.feed_data(rest)
                break
            except httptools.HttpParserUpgrade as upgrade:
                rest = self._without_upgrade(rest[upgrade.args[0] :])
            except httptools.HttpParserCallbackError as error:
                if not isinstance(error.__context__, SvcError):
                    raise
                self.error = error.__context__
                return
            except httptools.HttpParserError as error:
                self.error = BadRequest(f"cannot read the request: {error}")
                return
        if self.begun:
            progress = len(self.ready) != before or self._body_size != size
            self._no_body = 0 if progress else self._no_body + len(data)
            if self._no_body > HEAD_LIMIT:
                self.error = HeadTooLarge(f"the request's head, or its trailers, are over {HEAD_LIMIT} bytes")

    def close(self) -> None:
        """Undoes the cycles: a large body would wait in one for the garbage collection."""
        del self._parser  # it refers to us
        self.error = None  # so do the frames that raised it

    def _without_upgrade(self, rest: bytes) -> bytes:
        """Nothing is upgraded here (RFC 9110, 7.8 lets a server ignore it): the request, to be read without it."""
        asked = self.ready.pop()
        if asked.method == b"CONNECT":
            self.error = NotAllowed("CONNECT is not supported")
            return b""
        self._parser = httptools.HttpRequestParser(self)
        kept = [*asked.headers, *((k, v) for k, v in asked.special.items() if k not in (b"upgrade", b"connection"))]
        kept.append((b"connection", b"keep-alive" if asked.keep_alive else b"close"))
        return b"%b %b HTTP/1.%d\r\n%b\r\n%b" % (
            asked.method,
            asked.target,
            0 if asked.http10 else 1,
            b"".join(b"%b: %b\r\n" % h for h in kept),
            rest,
        )

    # What llhttp calls.

    def on_message_begin(self) -> None:
        self.target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._special: dict[bytes, bytes] = {}
        self._body: list[bytes | bytearray] = []
        self._body_size = self._head_size = self._no_body = 0
        self._in_head = self.begun = True

    def on_url(self, url: bytes) -> None:
        self.target += url
        self._head_size += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            return  # trailers end here
        self._head_size += len(name) + len(value)
        if self._head_size > HEAD_LIMIT or len(self._headers) >= HEADER_COUNT:
            raise HeadTooLarge(f"the request's head is over {HEAD_LIMIT} bytes or {HEADER_COUNT} headers")
        key = name.lower()
        if key not in NOT_PASSED:
            self._headers.append((name, value))
        elif key in self._special:
            if key == b"host":
                raise BadRequest("the request has two Host headers")
            self._special[key] += b", " + value
        else:
            self._special[key] = value

    def on_headers_complete(self) -> None:
        self._in_head = False
        version = self._parser.get_http_version()
        self._http10 = version == "1.0"
        if len(self._special) > 1 or version != "1.1" or b"host" not in self._special:
            self._check(version)

    def _check(self, version: str) -> None:
        special = self._special
        if version not in ("1.0", "1.1"):
            raise BadRequest(f"HTTP/{version} is not spoken here; use HTTP/1.1")
        if b"host" not in special and not self._http10:
            raise BadRequest("the request has no Host header")
        coding = special.get(b"transfer-encoding")
        if coding is not None and (self._http10 or coding.strip().lower() != b"chunked"):
            raise BadRequest("the request has a Transfer-Encoding other than chunked, or one in HTTP/1.0")
        if int(special.get(b"content-length") or 0) > self.max_body:
            raise TooLarge(f"the request's body is over {self.max_body} bytes")
        if special.get(b"expect", b"").strip().lower() == b"100-continue" and not self._http10:
            self.wants_continue = True
        named = special.get(b"connection", b"").lower()
        if named and named not in (b"keep-alive", b"close"):
            self._headers = list(unnamed(self._headers, named))

    def on_body(self, data: bytes) -> None:
        self._body_size += len(data)
        if self._body_size > self.max_body:
            raise TooLarge(f"the request's body is over {self.max_body} bytes")
        body = self._body
        body.append(data)
        if len(body) > PIECES:
            gathered = body[0] if isinstance(body[0], bytearray) else bytearray(body[0])
            gathered += b"".join(body[1:])
            self._body = [gathered]

    def on_message_complete(self) -> None:
        self.wants_continue = self.begun = False
        target, body = self.target, self._body
        self.ready.append(
            Request(
                self._parser.get_method(),
                target if target[:1] == b"/" else origin_form(target),
                self._headers,
                self._special,
                bytes(body[0]) if len(body) == 1 else b"".join(body),
                self._http10,
                self._parser.should_keep_alive(),
            )
        )


def unnamed(headers: list[tuple[bytes, bytes]], connection: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The headers but for those that Connection names: they are for this hop alone."""
    drop = {token.strip() for token in connection.lower().split(b",")}
    return (h for h in headers if h[0].lower() not in drop)


def origin_form(target: bytes) -> bytes:
    """A target as proxies are asked for it, without the authority (RFC 9112, 3.2.2); `*` stays."""
    path = AUTHORITY.sub(b"", target, count=1)
    return path if path[:1] in (b"/", b"*") else b"/" + path
