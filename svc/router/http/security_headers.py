"""Headers that protect the router's own origin, on which the page at /ui runs, from responses of instances. Pure.

An instance is less trusted than the router: it may be third-party code, and its model may generate HTML. A browser that
opens an instance's response must not run it as a page of the router.
"""

import re
from collections.abc import Sequence

# Headers that apply to a whole origin, not to one response, and CORS headers, which the router itself sets.
ORIGIN_WIDE = frozenset(
    b"set-cookie set-cookie2 service-worker-allowed clear-site-data strict-transport-security public-key-pins alt-svc "
    b"nel report-to set-login accept-ch timing-allow-origin access-control-allow-origin "
    b"access-control-allow-credentials "
    b"access-control-allow-methods access-control-allow-headers access-control-allow-private-network "
    b"access-control-expose-headers access-control-max-age".split()
)
NOSNIFF = (b"X-Content-Type-Options", b"nosniff")
SANDBOX = (b"Content-Security-Policy", b"sandbox")
COMMON_API_TYPES = frozenset(
    (b"application/json", b"text/event-stream", b"text/event-stream; charset=utf-8", b"application/x-ndjson")
)
MEDIA_TYPE = re.compile(rb"([a-z]+)/([a-z0-9.+_-]+) *(?:;[^,]*)?")
# Media types of APIs, whose content no browser runs.
API_TYPES = frozenset(
    b"application/json application/x-ndjson application/ndjson application/jsonl application/x-jsonlines "
    b"application/json-seq text/event-stream".split()
)
API_FAMILIES = (b"audio", b"video", b"image")
# Media types that a browser shows or saves, as long as it does not guess another type.
PLAIN_TYPES = frozenset((b"text/plain", b"application/octet-stream"))

Headers = Sequence[tuple[bytes, bytes]]


def security_headers(headers: Headers, content_type: bytes, unique: bool) -> tuple[tuple[bytes, bytes], ...]:
    """Return the security headers to put before a response's own headers.

    `content_type`: the response's last Content-Type header; `unique`: no header name occurs twice. If there are two
    Content-Type headers, a browser may use either.
    """
    if unique and content_type in COMMON_API_TYPES:
        return ()
    types = [value for name, value in headers if name.lower() == b"content-type"]
    match = MEDIA_TYPE.fullmatch(types[0].strip().lower()) if len(types) == 1 else None
    if match is None:
        return (NOSNIFF, SANDBOX)
    family, subtype = match.groups()
    media = b"%b/%b" % (family, subtype)
    if media in API_TYPES or media.endswith(b"+json") or (family in API_FAMILIES and not subtype.endswith(b"xml")):
        return ()
    return (NOSNIFF,) if media in PLAIN_TYPES else (NOSNIFF, SANDBOX)
