"""One request: its head, with all that can be told from it worked out once, and its body."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from svc.router.paths import Paths, infers

if TYPE_CHECKING:
    from svc.router.cors import Verdict

# Meant for us alone (RFC 9110, 7.6.1), or written anew for the instance; bodies are passed on decoded.
# Origin and Sec-Fetch-Site: the router judges the page; an instance (Ollama) would refuse one that it allows.
NOT_PASSED = frozenset(
    b"connection keep-alive proxy-connection te trailer transfer-encoding upgrade http2-settings "
    b"proxy-authorization content-length content-encoding expect host x-forwarded-for x-request-id "
    b"x-served-by via origin sec-fetch-site access-control-request-method".split()
)
CREDENTIALS = frozenset((b"authorization", b"x-api-key"))
# What an instance with a key of its own gets from no client: Azure's and Google's keys, too, and cookies of a proxy.
CLIENT_CREDENTIALS = CREDENTIALS | {b"api-key", b"x-goog-api-key", b"cookie"}
KEY_PROTOCOL = b"openai-insecure-api-key."  # browsers' WebSockets can send a key as a subprotocol only
REQUEST_IDS = (b"x-correlation-id", b"request-id")
LONGEST_ID = 128
COPIED_BYTES = 64 << 10  # a body up to this size is sent in one piece with its head, a larger one is not copied
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


class Rules(NamedTuple):
    """What all heads of one router are judged by; `pseudonym`: its name in Via (RFC 9110, 7.6.3), if it sends any."""

    paths: Paths = Paths()
    pseudonym: bytes = b""


DEFAULT_RULES = Rules()


class Head:
    """What stands before a request's body.

    `headers` are those that pass on; `special` has the others, by lower-case name, but
    for the body's length: a head is the same whatever it says.
    `id` is the one that it came with, if that is printable ASCII without blanks;
    `session` whom it seems to belong to, `own`
    whether we answer it ourselves; `verb` and `path` are for records. `coding` is its
    body's Content-Encoding, `upgrade` the protocol that it asks to change to; `infers`:
    it does nothing but infer, as far as its path says, or a tunnel.
    `passes`: its path may be relayed for any client; `loops`: this router has sent it already; `open`: it passes and
    does not loop. `key_digests`: of the API keys that it came with, where they do not pass on. `verdict` is what
    `cors` makes of the page that sent it, once it was judged.
    """

    __slots__ = (
        "_after", "_anonymous", "_before", "_via", "coding", "content_type", "has_body", "headers", "http10", "id",
        "infers", "keep_alive", "key_digests", "loops", "media", "method", "open", "own", "passes", "path", "rules",
        "session", "special", "target", "traced", "upgrade", "verb", "verdict",
    )  # fmt: skip

    def __init__(
        self,
        method: bytes,
        target: bytes,
        headers: Iterable[tuple[bytes, bytes]],
        special: dict[bytes, bytes],
        http10: bool = False,
        keep_alive: bool = True,
        rules: Rules = DEFAULT_RULES,
    ) -> None:
        self.method, self.verb = method, method.decode("latin-1")
        self.target, self.path = target, target.decode("latin-1")
        self.headers = tuple(headers)
        self.special = {name: value for name, value in special.items() if name != b"content-length"}
        self.http10 = http10
        self.verdict: Verdict | None = None
        self.own = is_own(method, target) or (method == b"OPTIONS" and is_preflight(special))
        self.has_body = b"content-length" in special or b"transfer-encoding" in special
        self.coding = special.get(b"content-encoding", b"")
        self.upgrade = upgrade(method, special) if b"upgrade" in special and not http10 else b""
        self.keep_alive = keep_alive and not self.upgrade
        self.infers = bool(self.upgrade) or infers(method, target)
        self.rules = rules
        via = special.get(b"via", b"")
        self.loops = bool(via) and rules.pseudonym in via.replace(b",", b" ").split()
        self.passes = rules.paths.allow(method, target)
        self.open = self.passes and not self.loops
        self.key_digests = key_digests(special.get(b"authorization", b""), special.get(b"x-api-key", b""))
        self.content_type = session = agent = b""
        self.traced = False
        told = special.get(b"x-request-id", b"")
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
                    told = value
        self.media = Media.JSON if self.content_type == b"application/json" else media(self.content_type)
        self.id = told[:LONGEST_ID] if PRINTABLE_ASCII.fullmatch(told) else b""
        forwarded = special.get(b"x-forwarded-for")
        self.session = session or (forwarded + b"\n" + agent if forwarded else b"")
        self._before = b"%b %b HTTP/1.1\r\nHost: " % (method, target)
        self._via = _via(via, http10, rules.pseudonym)
        self._after = self._after_host(self.headers)
        self._anonymous = b""  # the same without a client's credentials, made when first needed

    def header(self, name: bytes) -> bytes:
        """The first value under `name` (lower case), or nothing."""
        if name in self.special:
            return self.special[name]
        return next((value for key, value in self.headers if key.lower() == name), b"")

    def _after_host(self, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        """Return what follows the value of Host, up to the client's address."""
        lines = b"".join([b"%b: %b\r\n" % header for header in headers])
        if self.upgrade:
            lines += b"Connection: Upgrade\r\nUpgrade: %b\r\n" % self.upgrade
        lines += self._via
        forwarded = self.special.get(b"x-forwarded-for")
        return b"\r\n%bX-Forwarded-For: %b" % (lines, forwarded + b", " if forwarded else b"")

    def anonymous(self) -> bytes:
        """Return what follows the value of Host, without the client's credentials."""
        if not self._anonymous:
            self._anonymous = self._after_host(without_credentials(self.headers))
        return self._anonymous


class Request:
    """One request, whole."""

    __slots__ = ("body", "head")

    def __init__(self, head: Head, body: bytes) -> None:
        self.head = head
        self.body = body

    def take_body(self) -> bytes:
        """Return the body, and refer to it no more."""
        body, self.body = self.body, b""
        return body

    def outgoing(self, host: bytes, client: bytes, request_id: bytes, authorization: bytes = b"") -> bytes:
        """As an instance gets it, without a body over COPIED_BYTES: what is for one hop only is not in it.

        `authorization`: a header line of ours, behind a line break, in place of the client's credentials.
        """
        head, body = self.head, self.body
        after = head._after
        if authorization:
            host, after = host + authorization, head.anonymous()
        if body or head.has_body:
            return b"%b%b%b%b\r\nx-request-id: %b\r\nContent-Length: %d\r\n\r\n%b" % (
                head._before, host, after, client, request_id, len(body),
                body if len(body) <= COPIED_BYTES else b"",
            )  # fmt: skip
        return b"%b%b%b%b\r\nx-request-id: %b\r\n\r\n" % (head._before, host, after, client, request_id)


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


def is_preflight(special: Mapping[bytes, bytes]) -> bool:
    """Return whether an OPTIONS request is a browser's question whether a page may send what it wants to."""
    return b"origin" in special and b"access-control-request-method" in special


def unnamed(headers: Iterable[tuple[bytes, bytes]], connection: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The headers but for those that Connection names: they are for this hop alone."""
    drop = {token.strip() for token in connection.lower().split(b",")}
    return (h for h in headers if h[0].lower() not in drop)


def without_credentials(headers: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    """The headers but for those by which a client proves who it is."""
    for name, value in headers:
        key = name.lower()
        if key == b"sec-websocket-protocol" and KEY_PROTOCOL in value.lower():
            protocols = [protocol.strip() for protocol in value.split(b",")]
            value = b", ".join(p for p in protocols if not p.lower().startswith(KEY_PROTOCOL))
            if not value:
                continue
        if key not in CLIENT_CREDENTIALS:
            yield name, value


def origin_form(target: bytes) -> bytes:
    """A target as proxies are asked for it, without the authority (RFC 9112, 3.2.2); `*` stays."""
    path = AUTHORITY.sub(b"", target, count=1)
    return path if path[:1] in (b"/", b"*") else b"/" + path
