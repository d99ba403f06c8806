"""One request: its head, with everything that can be derived from the head, and its body. Pure."""

import re
from collections.abc import Iterable, Iterator
from enum import Enum, auto
from typing import NamedTuple

from svc.perimeter.browsers import BrowserRules, SettingNames
from svc.perimeter.hosts import Hosts
from svc.router.http.allowed_paths import ROUTE_PATH, AllowedPaths, is_inference, is_own
from svc.router.http.cors import ADMITTED, decide, is_preflight
from svc.router.http.credentials import drop_credentials, drop_query_credentials, key_digests
from svc.router.http.error_dialect import is_anthropic
from svc.router.http.object_paths import parse_path
from svc.router.http.session_headers import Ranks, address_session, precedes_user_id, ranks

# Headers that are only for this hop (RFC 9110, 7.6.1), or that are written anew for the instance.
# Content-Encoding is dropped because bodies are passed on decoded.
# Origin and Sec-Fetch-Site are dropped because an instance (Ollama) may refuse an origin that the router allows.
DROPPED_HEADERS = frozenset(
    b"connection keep-alive proxy-connection te trailer transfer-encoding upgrade http2-settings "
    b"proxy-authorization content-length content-encoding expect host x-forwarded-for x-request-id "
    b"x-served-by x-no-resume via origin sec-fetch-site access-control-request-method "
    b"x-operator-token".split()  # the registry's token, for the router's own page
)
MAX_REQUEST_ID_BYTES = 128
MAX_COPIED_BYTES = 16 << 10  # a body up to this size is copied behind its head: one buffer costs less than two
PRINTABLE_ASCII = re.compile(rb"[!-~]*")  # the characters of a request id that logs and other servers accept
SCHEME_AND_AUTHORITY = re.compile(rb"[a-zA-Z][a-zA-Z0-9+.-]*://[^/?#]*")


class Media(Enum):
    """How a body is read."""

    JSON = auto()
    FORM = auto()
    OTHER = auto()


# Content types under which clients send JSON: `curl -d` sends urlencoded.
JSON_TYPES = (b"", b"application/json", b"text/json", b"text/plain", b"application/x-www-form-urlencoded")


class HeadRules(NamedTuple):
    """Settings that decide how a head is classified."""

    paths: AllowedPaths = AllowedPaths()
    pseudonym: bytes = b""  # the router's name in Via (RFC 9110, 7.6.3), empty if it sends none
    browsers: BrowserRules = BrowserRules(Hosts(), SettingNames(""))
    session_ranks: Ranks = ranks()


DEFAULT_RULES = HeadRules()


class RequestHead:
    """The head of a request, with everything that can be derived from its bytes alone, so that it can be cached."""

    __slots__ = (
        "_after",  # bytes of the head for an instance, after the value of Host
        "_without_credentials",  # `_before` and `_after` without the client's credentials, built when first needed
        "_before",  # bytes of the head for an instance, up to the value of Host
        "_via",  # the header line Via for an instance
        "coding",  # Content-Encoding of the body
        "content_type",
        "has_body",  # whether the head announces a body, which may be empty
        "headers",  # the headers that are passed on
        "http10",  # whether the client speaks HTTP/1.0
        "is_anthropic",  # whether the path is one of Anthropic's API
        "id",  # the request's id that the client sent, if it is printable ASCII without blanks
        "is_inference",  # whether the request only asks for inference, or changes the protocol
        "keep_alive",  # whether the client keeps the connection open
        "key_digests",  # SHA-256 of the API keys in the head
        "loops",  # whether this router has forwarded the request before
        "media",  # how the body is read
        "method",
        "object_path",  # the path of a request about an object that an instance keeps; None for any other request
        "asks_route",  # whether the request asks which instance another request would get
        "needs_authorization",  # whether the request may be refused even if clients need no keys
        "origin_decision",  # whether Host and Origin are allowed, and the CORS lines of the response
        "own",  # whether the router answers the request itself
        "passes",  # whether the request's path is relayed for every client
        "uri_text",  # the URI as text
        "rules",
        "session",  # the identifier of the request's session in the head, for session affinity
        "session_precedes_user_id",  # whether that session counts although the body has `metadata.user_id`
        "special",  # the headers that are not passed on, by name in lower case, without Content-Length
        "uri",  # path and query, as the client sent them
        "traced",  # whether there is a traceparent header
        "upgrade",  # the protocol to change to
        "method_text",  # the method as text
    )

    def __init__(
        self,
        method: bytes,
        uri: bytes,
        headers: Iterable[tuple[bytes, bytes]],
        special: dict[bytes, bytes],
        http10: bool = False,
        keep_alive: bool = True,
        rules: HeadRules = DEFAULT_RULES,
    ) -> None:
        self.method, self.method_text = method, method.decode("latin-1")
        self.uri, self.uri_text = uri, uri.decode("latin-1")
        self.headers = tuple(headers)
        self.special = {name: value for name, value in special.items() if name != b"content-length"}
        self.http10 = http10
        self.own = is_own(method, uri) or is_preflight(self.method_text, lambda name: name.encode() in special)
        self.has_body = b"content-length" in special or b"transfer-encoding" in special
        self.coding = special.get(b"content-encoding", b"")
        self.upgrade = requested_protocol(method, special) if b"upgrade" in special and not http10 else b""
        self.keep_alive = keep_alive and not self.upgrade
        self.is_inference = bool(self.upgrade) or is_inference(method, uri)
        self.object_path = parse_path(method, uri)
        self.asks_route = method == b"POST" and uri.partition(b"?")[0] == ROUTE_PATH
        self.rules = rules
        via = special.get(b"via", b"")
        self.loops = bool(via) and rules.pseudonym in via.replace(b",", b" ").split()
        self.passes = rules.paths.allow(method, uri)
        if not self.own and not self.passes:
            self.own = rules.paths.opens_page(method, uri, self.header(b"accept"))
        self.origin_decision = ADMITTED
        if not self.own:
            self.origin_decision = decide(rules.browsers, self.method_text, bool(self.upgrade), self._text)
        refused = self.origin_decision.host_refused or self.origin_decision.origin_refused
        self.needs_authorization = self.loops or not self.passes or refused
        self.key_digests = key_digests(special.get(b"authorization", b""), special.get(b"x-api-key", b""))
        self.content_type = session = agent = b""
        session_rank = len(rules.session_ranks)
        self.traced = False
        request_id = special.get(b"x-request-id", b"")
        for header, value in self.headers:
            name = header.lower()
            if value and rules.session_ranks.get(name, session_rank) < session_rank:
                session, session_rank = value, rules.session_ranks[name]
            match name:
                case b"content-type":
                    self.content_type = value
                case b"user-agent":
                    agent = value
                case b"traceparent":
                    self.traced = True
                case b"x-correlation-id" | b"request-id" if b"x-request-id" not in special:
                    request_id = value
        for name in rules.session_ranks.keys() & special.keys():
            if special[name] and rules.session_ranks[name] < session_rank:
                session, session_rank = special[name], rules.session_ranks[name]
        self.media = Media.JSON if self.content_type == b"application/json" else media_of(self.content_type)
        self.id = request_id[:MAX_REQUEST_ID_BYTES] if PRINTABLE_ASCII.fullmatch(request_id) else b""
        self.session = session or address_session(special.get(b"x-forwarded-for", b""), agent)
        self.session_precedes_user_id = precedes_user_id(session_rank)
        self.is_anthropic = is_anthropic(uri)
        self._before = _before_host(method, uri)
        self._via = _via(via, http10, rules.pseudonym)
        self._after = self._after_host(self.headers)
        self._without_credentials: tuple[bytes, bytes] | None = None

    @property
    def size(self) -> int:
        """The approximate number of bytes of the head."""
        return len(self._before) + len(self._after)

    def header(self, name: bytes) -> bytes:
        """Return the first value of the header `name` (in lower case); empty if there is none."""
        if name in self.special:
            return self.special[name]
        return next((value for key, value in self.headers if key.lower() == name), b"")

    def _text(self, name: str) -> str | None:
        """Return the first value of the header `name` as text; None if there is none."""
        key = name.encode()
        value = self.special.get(key)
        if value is None and key not in DROPPED_HEADERS:
            value = self.header(key) or None
        return None if value is None else value.decode("latin-1")

    def _after_host(self, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        """Return the bytes of the head after the value of Host, up to the client's address in X-Forwarded-For."""
        lines = b"".join([b"%b: %b\r\n" % header for header in headers])
        if self.upgrade:
            lines += b"Connection: Upgrade\r\nUpgrade: %b\r\n" % self.upgrade
        lines += self._via
        forwarded = self.special.get(b"x-forwarded-for")
        return b"\r\n%bX-Forwarded-For: %b" % (lines, forwarded + b", " if forwarded else b"")

    def without_credentials(self) -> tuple[bytes, bytes]:
        """Return the two parts of the head, before and after the value of Host, without the client's credentials."""
        if self._without_credentials is None:
            before = _before_host(self.method, drop_query_credentials(self.uri))
            self._without_credentials = before, self._after_host(drop_credentials(self.headers))
        return self._without_credentials


class Request:
    """A request with its whole body."""

    __slots__ = ("body", "head")

    def __init__(self, head: RequestHead, body: bytes) -> None:
        self.head = head
        self.body = body

    def take_body(self) -> bytes:
        """Return the body and drop the reference to it, so that its memory can be freed."""
        body, self.body = self.body, b""
        return body

    def uncopied_body(self) -> bytes:
        """Return the body if it is too large to be a part of `outgoing`, else no bytes."""
        return self.body if len(self.body) > MAX_COPIED_BYTES else b""

    def outgoing(self, host: bytes, client: bytes, request_id: bytes, authorization: bytes | None = None) -> bytes:
        """Return the head for an instance, followed by the body unless the body is over MAX_COPIED_BYTES.

        `authorization`: None to pass on the client's credentials; otherwise the header line that replaces them (it
        begins with a line break), empty to remove them without a replacement.
        """
        head, body = self.head, self.body
        before, after = head._before, head._after
        if authorization is not None:
            host += authorization
            before, after = head.without_credentials()
        if body or head.has_body:
            return b"%b%b%b%b\r\nx-request-id: %b\r\nContent-Length: %d\r\n\r\n%b" % (
                before,
                host,
                after,
                client,
                request_id,
                len(body),
                body if len(body) <= MAX_COPIED_BYTES else b"",
            )
        return b"%b%b%b%b\r\nx-request-id: %b\r\n\r\n" % (before, host, after, client, request_id)


def _before_host(method: bytes, uri: bytes) -> bytes:
    return b"%b %b HTTP/1.1\r\nHost: " % (method, uri)


def _via(via: bytes, http10: bool, pseudonym: bytes) -> bytes:
    """Return the header line Via for an instance: the client's entries, and the router's own if it has a pseudonym."""
    entries = [via] if via else []
    if pseudonym:
        entries.append((b"1.0 " if http10 else b"1.1 ") + pseudonym)
    return b"Via: %b\r\n" % b", ".join(entries) if entries else b""


def requested_protocol(method: bytes, special: dict[bytes, bytes]) -> bytes:
    """Return the protocol that a request asks to change to, such as websocket; empty if there is none.

    A server may ignore the header Upgrade (RFC 9110, 7.8). The router ignores it in a request with a body, or with a
    method other than GET, and if the protocol is h2c, because clients that offer h2c work without it.
    """
    protocol = special[b"upgrade"]
    connection = {token.strip() for token in special.get(b"connection", b"").lower().split(b",")}
    sized = special.get(b"content-length", b"0").strip(b"0") or b"transfer-encoding" in special
    is_allowed = method == b"GET" and b"upgrade" in connection and not sized and b"h2c" not in protocol.lower()
    return protocol if is_allowed else b""


def media_of(content_type: bytes) -> Media:
    """Return how a body of this Content-Type is read."""
    kind = content_type.partition(b";")[0].strip().lower()
    if kind in JSON_TYPES or kind.endswith(b"+json"):
        return Media.JSON
    return Media.FORM if kind == b"multipart/form-data" else Media.OTHER


def drop_hop_headers(headers: Iterable[tuple[bytes, bytes]], connection: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Return the headers that are not listed in the value of Connection; listed headers are only for this hop."""
    dropped = {token.strip() for token in connection.lower().split(b",")}
    return (h for h in headers if h[0].lower() not in dropped)


def origin_form(uri: bytes) -> bytes:
    """Return path and query of a URI, which may be in absolute form (RFC 9112, 3.2.2); return `*` unchanged."""
    path = SCHEME_AND_AUTHORITY.sub(b"", uri, count=1)
    return path if path[:1] in (b"/", b"*") else b"/" + path
