"""A request as an instance gets it."""

from svc.router.message import Request

REQUEST_IDS = (b"x-correlation-id", b"request-id")
CREDENTIALS = (b"authorization", b"x-api-key")
LONGEST_ID = 128


def outgoing(request: Request, host: bytes, client: bytes, request_id: bytes) -> bytes:
    """Head and body. The headers pass through; those that are for one hop only are not among them any more."""
    forwarded = request.special.get(b"x-forwarded-for")
    head = b"%b %b HTTP/1.1\r\nHost: %b\r\n%bX-Forwarded-For: %b\r\nx-request-id: %b\r\n" % (
        request.method,
        request.target,
        host,
        b"".join([b"%b: %b\r\n" % header for header in request.headers]),
        b"%b, %b" % (forwarded, client) if forwarded else client,
        request_id,
    )
    if request.has_body():
        return b"%bContent-Length: %d\r\n\r\n%b" % (head, len(request.body), request.body)
    return head + b"\r\n"


def request_id(request: Request) -> bytes:
    """The id that came with the request, if any."""
    told = request.special.get(b"x-request-id", b"")
    if not told:
        for name, value in request.headers:
            if name.lower() in REQUEST_IDS:
                told = value
    return told[:LONGEST_ID]
