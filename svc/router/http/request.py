"""One request: its head, with all that can be told from it worked out once, and its body."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from enum import Enum, auto
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from svc.perimeter.browsers import BrowserRules, SettingNames
from svc.perimeter.hosts import Hosts
from svc.router.http.allowed_paths import AllowedPaths, infers
from svc.router.http.cors import ADMITTED, decide, is_preflight

# Meant for us alone (RFC 9110, 7.6.1), or written anew for the instance; bodies are passed on decoded.
# Origin and Sec-Fetch-Site: the router judges the page; an instance (Ollama) would refuse one that it allows.
NOT_PASSED = frozenset(
    b"connection keep-alive proxy-connection te trailer transfer-encoding upgrade http2-settings "
    b"proxy-authorization content-length content-encoding expect host x-forwarded-for x-request-id "
    b"x-served-by via origin sec-fetch-site access-control-request-method "
    b"x-operator-token".split()  # the registry's token, for the router's own page
)
CREDENTIALS = frozenset((b"authorization", b"x-api-key"))
# A header or query parameter whose name contains one of these (with - for _) may be a client's credential.
CREDENTIAL_NAMES = re.compile(
    rb"token|secret|password|credential|authorization|cookie|api-?key|access-?key|auth-?key|subscription-?key"
)
KEY_PROTOCOL = b"openai-insecure-api-key."  # browsers' WebSockets can send a key as a subprotocol only
LONGEST_ID = 128
COPIED_BYTES = 1 << 20  # a body up to this size is sent in one piece with its head, a larger one is not copied
PRINTABLE_ASCII = re.compile(rb"[!-~]*")  # what logs and other servers take an id to be
OWN = frozenset(b"/health /status /models /v1/models /services /stats /metrics /livez /readyz /ui".split())
ACTS = (b"/ui/drain/", b"/ui/undrain/")
AUTHORITY = re.compile(rb"[a-zA-Z][a-zA-Z0-9+.-]*://[^/?#]*")


class Media(Enum):
    """How a body is read."""

    JSON = auto()
    FORM = auto()
    OTHER = auto()


# Content types under which clients send JSON; `curl -d` says urlencoded.
JSON_TYPES = (b"", b"application/json", b"text/json", b"text/plain", b"application/x-www-form-urlencoded")


class HeadRules(NamedTuple):
    """Settings that decide how a head is classified."""

    paths: AllowedPaths = AllowedPaths()
    pseudonym: bytes = b""  # the router's name in Via (RFC 9110, 7.6.3), if it sends any
    browsers: BrowserRules = BrowserRules(Hosts(), SettingNames(""))


DEFAULT_RULES = HeadRules()


class RequestHead:
    """A request's head, with everything that can be derived from it alone: the same bytes give the same head."""

    __slots__ = (
        "_after",  # bytes of the head for an instance, behind the value of Host
        "_anonymous",  # both without the client's credentials, made when first needed
        "_before",  # bytes of the head for an instance, up to the value of Host
        "_via",  # the line Via for an instance
        "coding",  # Content-Encoding of the body
        "content_type",
        "has_body",  # whether it announces a body, which may be empty
        "headers",  # those that pass on
        "http10",  # whether the client speaks HTTP/1.0
        "id",  # the request's id as the client sent it, if it is printable ASCII without blanks
        "infers",  # whether it only infers, as far as its path says, or is a tunnel
        "keep_alive",  # whether the client keeps the connection open
        "key_digests",  # SHA-256 of the API keys in it
        "loops",  # whether this router has sent it already
        "media",  # how the body is read
        "method",
        "needs_authorization",  # whether it can be refused also where clients need no keys
        "origin_decision",  # whether Host and Origin are allowed, and the CORS lines of the response
        "own",  # whether the router answers it itself
        "passes",  # whether its path is relayed for every client
        "path",  # the target as text, for records
        "rules",
        "session",  # what identifies its session, for session affinity
        "special",  # the headers that do not pass on, by name in lower case, without Content-Length
        "target",
        "traced",  # whether it has a traceparent
        "upgrade",  # the protocol to change to
        "verb",  # the method as text
    )

    def __init__(
        self,
        method: bytes,
        target: bytes,
        headers: Iterable[tuple[bytes, bytes]],
        special: dict[bytes, bytes],
        http10: bool = False,
        keep_alive: bool = True,
        rules: HeadRules = DEFAULT_RULES,
    ) -> None:
        self.method, self.verb = method, method.decode("latin-1")
        self.target, self.path = target, target.decode("latin-1")
        self.headers = tuple(headers)
        self.special = {name: value for name, value in special.items() if name != b"content-length"}
        self.http10 = http10
        self.own = is_own(method, target) or is_preflight(self.verb, lambda name: name.encode() in special)
        self.has_body = b"content-length" in special or b"transfer-encoding" in special
        self.coding = special.get(b"content-encoding", b"")
        self.upgrade = upgrade(method, special) if b"upgrade" in special and not http10 else b""
        self.keep_alive = keep_alive and not self.upgrade
        self.infers = bool(self.upgrade) or infers(method, target)
        self.rules = rules
        via = special.get(b"via", b"")
        self.loops = bool(via) and rules.pseudonym in via.replace(b",", b" ").split()
        self.passes = rules.paths.allow(method, target)
        self.origin_decision = ADMITTED
        if not self.own:
            self.origin_decision = decide(rules.browsers, self.verb, bool(self.upgrade), self._text)
        refused = self.origin_decision.host_refused or self.origin_decision.origin_refused
        self.needs_authorization = self.loops or not self.passes or refused
        self.key_digests = key_digests(special.get(b"authorization", b""), special.get(b"x-api-key", b""))
        self.content_type = session = agent = b""
        self.traced = False
        request_id = special.get(b"x-request-id", b"")
        for name, value in self.headers:
            match name.lower():
                case b"content-type":
                    self.content_type = value
                case b"x-session-id":
                    session = value
                case b"user-agent":
                    agent = value
                case b"traceparent":
                    self.traced = True
                case b"x-correlation-id" | b"request-id" if b"x-request-id" not in special:
                    request_id = value
        self.media = Media.JSON if self.content_type == b"application/json" else media(self.content_type)
        self.id = request_id[:LONGEST_ID] if PRINTABLE_ASCII.fullmatch(request_id) else b""
        forwarded = special.get(b"x-forwarded-for")
        self.session = session or (forwarded + b"\n" + agent if forwarded else b"")
        self._before = _before_host(method, target)
        self._via = _via(via, http10, rules.pseudonym)
        self._after = self._after_host(self.headers)
        self._anonymous: tuple[bytes, bytes] | None = None

    @property
    def size(self) -> int:
        """Return about how many bytes it has."""
        return len(self._before) + len(self._after)

    def header(self, name: bytes) -> bytes:
        """The first value under `name` (lower case), or nothing."""
        if name in self.special:
            return self.special[name]
        return next((value for key, value in self.headers if key.lower() == name), b"")

    def _text(self, name: str) -> str | None:
        """Return the first value under `name` as text, None where there is none."""
        key = name.encode()
        value = self.special.get(key)
        if value is None and key not in NOT_PASSED:
            value = self.header(key) or None
        return None if value is None else value.decode("latin-1")

    def _after_host(self, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        """Return what follows the value of Host, up to the client's address."""
        lines = b"".join([b"%b: %b\r\n" % header for header in headers])
        if self.upgrade:
            lines += b"Connection: Upgrade\r\nUpgrade: %b\r\n" % self.upgrade
        lines += self._via
        forwarded = self.special.get(b"x-forwarded-for")
        return b"\r\n%bX-Forwarded-For: %b" % (lines, forwarded + b", " if forwarded else b"")

    def anonymous(self) -> tuple[bytes, bytes]:
        """Return what stands before and behind the value of Host, without the client's credentials."""
        if self._anonymous is None:
            before = _before_host(self.method, without_query_credentials(self.target))
            self._anonymous = before, self._after_host(without_credentials(self.headers))
        return self._anonymous


class Request:
    """One request, whole."""

    __slots__ = ("body", "head")

    def __init__(self, head: RequestHead, body: bytes) -> None:
        self.head = head
        self.body = body

    def take_body(self) -> bytes:
        """Return the body, and refer to it no more."""
        body, self.body = self.body, b""
        return body

    def outgoing(self, host: bytes, client: bytes, request_id: bytes, authorization: bytes | None = None) -> bytes:
        """As an instance gets it, without a body over COPIED_BYTES: what is for one hop only is not in it.

        `authorization`: a header line of ours, behind a line break, or nothing, in place of the client's credentials.
        """
        head, body = self.head, self.body
        before, after = head._before, head._after
        if authorization is not None:
            host += authorization
            before, after = head.anonymous()
        if body or head.has_body:
            return b"%b%b%b%b\r\nx-request-id: %b\r\nContent-Length: %d\r\n\r\n%b" % (
                before,
                host,
                after,
                client,
                request_id,
                len(body),
                body if len(body) <= COPIED_BYTES else b"",
            )
        return b"%b%b%b%b\r\nx-request-id: %b\r\n\r\n" % (before, host, after, client, request_id)


def _before_host(method: bytes, target: bytes) -> bytes:
    return b"%b %b HTTP/1.1\r\nHost: " % (method, target)


def key_digests(authorization: bytes, x_api_key: bytes) -> tuple[bytes, ...]:
    """Return the SHA-256 of the API keys in these two headers (empty: not sent), Authorization's first."""
    bearer = authorization[7:].strip() if authorization[:7].lower() == b"bearer " else b""
    return tuple(hashlib.sha256(secret).digest() for secret in (bearer, x_api_key) if secret)


def _via(via: bytes, http10: bool, pseudonym: bytes) -> bytes:
    """Return the header line Via as an instance gets it: the client's entries, and this router's own if it has one."""
    entries = [via] if via else []
    if pseudonym:
        entries.append((b"1.0 " if http10 else b"1.1 ") + pseudonym)
    return b"Via: %b\r\n" % b", ".join(entries) if entries else b""


def upgrade(method: bytes, special: dict[bytes, bytes]) -> bytes:
    """Return the protocol that a request asks to change to, such as websocket, or nothing.

    Only a GET without a body can change it here, and not to h2c: a server may ignore Upgrade (RFC 9110, 7.8), and
    clients that offer h2c get along without it.
    """
    protocol = special[b"upgrade"]
    named = {token.strip() for token in special.get(b"connection", b"").lower().split(b",")}
    sized = special.get(b"content-length", b"0").strip(b"0") or b"transfer-encoding" in special
    wanted = method == b"GET" and b"upgrade" in named and not sized and b"h2c" not in protocol.lower()
    return protocol if wanted else b""


def media(content_type: bytes) -> Media:
    """Return how a body of this Content-Type is read."""
    kind = content_type.partition(b";")[0].strip().lower()
    if kind in JSON_TYPES or kind.endswith(b"+json"):
        return Media.JSON
    return Media.FORM if kind == b"multipart/form-data" else Media.OTHER


def is_own(method: bytes, target: bytes) -> bool:
    """Whether the router answers it itself; every other path and method is relayed."""
    if method == b"POST":
        return target.startswith(ACTS)
    if method not in (b"GET", b"HEAD"):
        return False
    path = target.partition(b"?")[0]
    return path in OWN or path.startswith((b"/v1/models/", b"/ui/"))


def unnamed(headers: Iterable[tuple[bytes, bytes]], connection: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The headers but for those that Connection names: they are for this hop alone."""
    drop = {token.strip() for token in connection.lower().split(b",")}
    return (h for h in headers if h[0].lower() not in drop)


def without_credentials(headers: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    """Yield the headers that cannot hold a client's credentials."""
    for name, value in headers:
        key = name.lower()
        if key == b"sec-websocket-protocol" and KEY_PROTOCOL in value.lower():
            protocols = [protocol.strip() for protocol in value.split(b",")]
            value = b", ".join(p for p in protocols if not p.lower().startswith(KEY_PROTOCOL))
            if not value:
                continue
        if not CREDENTIAL_NAMES.search(key.replace(b"_", b"-")):
            yield name, value


def without_query_credentials(target: bytes) -> bytes:
    """Return a target without the query's parameters that may be a client's credentials, such as Google's `key`."""
    path, mark, query = target.partition(b"?")
    kept = [field for field in query.split(b"&") if not _is_credential_field(field)]
    return path + mark + b"&".join(kept) if kept else path


def _is_credential_field(field: bytes) -> bool:
    name = unquote_to_bytes(field.partition(b"=")[0].replace(b"+", b" ")).strip().lower().replace(b"_", b"-")
    return name == b"key" or bool(CREDENTIAL_NAMES.search(name))


def origin_form(target: bytes) -> bytes:
    """A target as proxies are asked for it, without the authority (RFC 9112, 3.2.2); `*` stays."""
    path = AUTHORITY.sub(b"", target, count=1)
    return path if path[:1] in (b"/", b"*") else b"/" + path
