"""Web pages of other origins: which head says what of its page, and what the answer says to the browser. Pure.

One verdict is made for each head and kept with it, so that a head that comes
again costs nothing.
"""

from typing import NamedTuple

from svc.perimeter.browsers import SAFE_METHODS, BrowserRules
from svc.perimeter.hosts import ANY
from svc.router.request import Head

PREFLIGHT = "Access-Control-Request-Method"  # the header that makes an OPTIONS request a preflight
METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
EXPOSED_HEADERS = "x-request-id, retry-after, x-served-by, x-should-retry, *"
MAX_AGE_SECONDS = "3600"
MAX_REQUESTED_BYTES = 4096  # of header names in a preflight

HeaderLines = tuple[tuple[str, str], ...]


class Verdict(NamedTuple):
    """Whether a head's Host or its page is refused, and the lines that CORS adds to its answer."""

    host_refused: bool
    origin_refused: bool
    lines: bytes


ADMITTED = Verdict(False, False, b"")  # nearly every head's


def judge(rules: BrowserRules, head: Head) -> Verdict:
    """Return the verdict on a relayed request. A change of the protocol counts as a write."""
    host, origin, site = (_text(head, name) for name in (b"host", b"origin", b"sec-fetch-site"))
    writes = head.verb not in SAFE_METHODS or bool(head.upgrade)
    verdict = Verdict(
        not rules.admits_host(host),
        writes and rules.refuses_origin(origin, site, host, lambda name: _text(head, name.encode())),
        b"".join(f"{name}: {value}\r\n".encode("latin-1") for name, value in answer_headers(rules, origin)),
    )
    return ADMITTED if verdict == ADMITTED else verdict


def answer_headers(rules: BrowserRules, origin: str | None) -> HeaderLines:
    """Return what an answer says to the browser. Never that credentials may be sent: there are no cookies here."""
    if not rules.origins:
        return ()
    any_origin = ANY in rules.origins
    vary: HeaderLines = () if any_origin else (("Vary", "Origin"),)
    if not origin or not rules.allows(origin):
        return vary
    allowed = ANY if any_origin else origin
    return (*vary, ("Access-Control-Allow-Origin", allowed), ("Access-Control-Expose-Headers", EXPOSED_HEADERS))


def preflight_headers(requested: str, private_network: bool) -> HeaderLines:
    """Return what an allowed preflight is answered with, beside `answer_headers`.

    `requested`: the headers that the page wants to send. `private_network`: it is of a public site, and asks for a
    server that is not.
    """
    more = [("Access-Control-Allow-Methods", METHODS), ("Access-Control-Max-Age", MAX_AGE_SECONDS)]
    if requested and len(requested) <= MAX_REQUESTED_BYTES:
        more.append(("Access-Control-Allow-Headers", requested))
    if private_network:
        more.append(("Access-Control-Allow-Private-Network", "true"))
    return tuple(more)


def _text(head: Head, name: bytes) -> str | None:
    value = head.special.get(name)
    if value is None and name == b"x-forwarded-host":
        value = head.header(name) or None
    return None if value is None else value.decode("latin-1")
