"""The headers by which a request shows that a proxy has sent it. Pure."""

from svc.perimeter.browsers import Headers

# A proxy on this machine adds at least one of these headers. No program of this project sends them itself.
PROXY_HEADERS = frozenset(
    (
        "forwarded",
        "via",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-server",
        "x-forwarded-by",
        "x-real-ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "true-client-ip",
        "cf-connecting-ip",
        "fastly-client-ip",
    )
)


def names_proxy(headers: Headers) -> bool:
    """Return whether a proxy has sent the request, so that the address of its peer proves nothing about the client."""
    return any(headers.get(name) is not None for name in PROXY_HEADERS)
