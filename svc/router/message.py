"""Reading HTTP/1.1 requests: llhttp's events become whole requests, within limits.

llhttp is strict, and its verdict is the only reading of a message: both
lengths at once, two lengths, bare CR or LF, folded headers are all refused.
"""

from collections import deque

import httptools

from svc.errors import BadRequest, HeadTooLarge, NotAllowed, SvcError, TooLarge

HEAD_LIMIT = 64 << 10  # bytes of request line and headers
HEADER_COUNT = 128

# Meant for us alone (RFC 9110, 7.6.1), or written anew for the instance.
NOT_PASSED = frozenset(
    b"connection keep-alive proxy-connection te trailer transfer-encoding upgrade http2-settings "
    b"proxy-authorization content-length expect host x-forwarded-for x-request-id".split()
)
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


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

    @property
    def path(self) -> bytes:
        return self.target.partition(b"?")[0]

    def has_body(self) -> bool:
        return bool(self.body) or b"content-length" in self.special or b"transfer-encoding" in self.special

    def header(self, name: bytes) -> bytes:
        """The first value under `name` (lower case), or nothing."""
        if name in self.special:
            return self.special[name]
        return next((value for key, value in self.headers if key.lower() == name), b"")


class RequestReader:
    """Bytes in by `feed`, whole requests out of `ready`; raises SvcError for what cannot be served."""

    __slots__ = (
        "_body", "_body_size", "_fed", "_head_size", "_headers", "_in_head", "_parser", "_special", "_target",
        "begun", "max_body", "ready", "wants_continue",
    )  # fmt: skip

    def __init__(self, max_body: int) -> None:
        self.max_body = max_body
        self.ready: deque[Request] = deque()
        self.wants_continue = False
        self._parser = httptools.HttpRequestParser(self)
        self.on_message_begin()
        self.begun = False  # whether part of a request has come

    def feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserCallbackError as error:
            if isinstance(error.__context__, SvcError):
                raise error.__context__ from None
            raise
        except httptools.HttpParserError as error:
            if self.ready:  # what came before the garbage is answered first
                self.ready[-1].keep_alive = False
                return
            raise BadRequest(f"cannot read the request: {error}") from None
        if self.begun and self._in_head:
            self._fed += len(data)
            if self._fed > HEAD_LIMIT and not self.ready:
                raise HeadTooLarge(f"the request's head is over {HEAD_LIMIT} bytes")

    def _without_upgrade(self, rest: bytes) -> None:
        """Nothing is upgraded here (RFC 9110, 7.8 lets a server ignore it): the same request is read without it."""
        asked = self.ready.pop()
        if asked.method == b"CONNECT":
            raise NotAllowed("CONNECT is not supported")
        kept = [*asked.headers, *((k, v) for k, v in asked.special.items() if k not in (b"upgrade", b"connection"))]
        head = b"%b %b HTTP/1.1\r\n%b\r\n" % (asked.method, asked.target, b"".join(b"%b: %b\r\n" % h for h in kept))
        self._parser = httptools.HttpRequestParser(self)
        self.feed(head + rest)

    # What llhttp calls.

    def on_message_begin(self) -> None:
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._special: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._body_size = self._head_size = self._fed = 0
        self._in_head = self.begun = True

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            return  # trailers end here
        self._head_size += len(name) + len(value)
        if self._head_size > HEAD_LIMIT or len(self._headers) > HEADER_COUNT:
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
        special = self._special
        if len(special) > 1 or b"host" not in special:
            if b"host" not in special and self._parser.get_http_version() != "1.0":
                raise BadRequest("the request has no Host header")
            self._check_special(special)

    def _check_special(self, special: dict[bytes, bytes]) -> None:
        if int(special.get(b"content-length") or 0) > self.max_body:
            raise TooLarge(f"the request's body is over {self.max_body} bytes")
        if special.get(b"expect", b"").lower() == b"100-continue":
            self.wants_continue = True
        named = special.get(b"connection", b"").lower()
        if named and named not in (b"keep-alive", b"close"):
            drop = {token.strip() for token in named.split(b",")}
            self._headers = [h for h in self._headers if h[0].lower() not in drop]

    def on_body(self, data: bytes) -> None:
        self._body_size += len(data)
        if self._body_size > self.max_body:
            raise TooLarge(f"the request's body is over {self.max_body} bytes")
        self._body.append(data)

    def on_message_complete(self) -> None:
        body = self._body
        self.wants_continue = False
        self.ready.append(
            Request(
                self._parser.get_method(),
                self._target,
                self._headers,
                self._special,
                body[0] if len(body) == 1 else b"".join(body),
                self._parser.get_http_version() == "1.0",
                self._parser.should_keep_alive(),
            )
        )
        self.begun = False
