"""CORS: decides whether a request's origin is allowed, and builds the response headers. Pure."""

from collections.abc import Callable
from typing import NamedTuple

from svc.perimeter.browsers import SAFE_METHODS, BrowserRules
from svc.perimeter.hosts import ANY

ALLOWED_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
EXPOSED_HEADERS = "x-request-id, retry-after, x-served-by, x-should-retry, *"
MAX_AGE_SECONDS = "3600"
MAX_REQUESTED_BYTES = 4096  # limit for the list of header names in a preflight

HeaderLines = tuple[tuple[str, str], ...]


class OriginDecision(NamedTuple):
    """Whether a request's Host or Origin is refused, and the CORS header lines of its response."""

    host_refused: bool
    origin_refused: bool
    lines: bytes


ADMITTED = OriginDecision(False, False, b"")


def decide(rules: BrowserRules, method: str, upgrades: bool, header: Callable[[str], str | None]) -> OriginDecision:
    """Return the decision about a relayed request.

    `upgrades`: the request changes the protocol, which counts as a write. `header` takes the name of a header and
    returns its value.
    """
    host, origin = header("host"), header("origin")
    writes = upgrades or method not in SAFE_METHODS
    return OriginDecision(
        not rules.admits_host(host),
        writes and rules.refuses_origin(origin, header("sec-fetch-site"), host, header),
        b"".join(f"{name}: {value}\r\n".encode("latin-1") for name, value in cors_headers(rules, origin)),
    )


def is_preflight(method: str, has_header: Callable[[str], bool]) -> bool:
    """Return whether a request is a browser's CORS preflight."""
    return method == "OPTIONS" and has_header("origin") and has_header("access-control-request-method")


def cors_headers(rules: BrowserRules, origin: str | None) -> HeaderLines:
    """Return the CORS headers of a response. Credentials are never allowed: the router has no cookies."""
    if not rules.origins:
        return ()
    any_origin = ANY in rules.origins
    vary: HeaderLines = () if any_origin else (("Vary", "Origin"),)
    if not origin or not rules.allows(origin):
        return vary
    allowed = ANY if any_origin else origin
    return (*vary, ("Access-Control-Allow-Origin", allowed), ("Access-Control-Expose-Headers", EXPOSED_HEADERS))


def preflight_headers(requested: str, private_network: bool) -> HeaderLines:
    """Return the headers of the response to an allowed preflight, in addition to `cors_headers`.

    `requested`: the headers that the page wants to send. `private_network`: the page belongs to a public site and asks
    whether it may send requests to a private network.
    """
    more = [("Access-Control-Allow-Methods", ALLOWED_METHODS), ("Access-Control-Max-Age", MAX_AGE_SECONDS)]
    if requested and len(requested) <= MAX_REQUESTED_BYTES:
        more.append(("Access-Control-Allow-Headers", requested))
    if private_network:
        more.append(("Access-Control-Allow-Private-Network", "true"))
    return tuple(more)
