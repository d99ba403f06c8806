"""Parse and answer usual heartbeats without Flask, because most requests to a registry are heartbeats. Pure.

`RegistryApi.handle_heartbeat` acts on a heartbeat, and `leases.lease.renew` extends the lease. The worker passes every
request that is unusual in any way to the application.
"""

import re
from email.utils import formatdate
from typing import NamedTuple

from svc.registry.access.identity import PROXY_HEADERS

API_EXTENSION = "svc.registry.api"  # key in Flask's app.extensions under which the worker finds the RegistryApi
MAX_HEARTBEAT_BYTES = 8192  # the application handles longer ones
REQUEST_START = b"POST /services/"
REQUEST_LINE = re.compile(rb"POST /services/([A-Za-z0-9][A-Za-z0-9_.-]{0,127})/heartbeat HTTP/1\.1")
HEADER_FIELD = re.compile(rb"([A-Za-z][A-Za-z-]*):[ \t]*([\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)?[ \t]*")
CONTENT_LENGTH = re.compile(rb"(?i)\r\ncontent-length:[ \t]*([0-9]{1,4})[ \t]*(?=\r\n|$)")
UNUSUAL_HEADERS = PROXY_HEADERS | {"transfer-encoding", "expect", "upgrade", "origin", "sec-fetch-site"}
RESPONSE = (
    b"HTTP/1.1 200 OK\r\nServer: gunicorn\r\nDate: %b\r\nConnection: %b\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
)


class Heartbeat(NamedTuple):
    """A heartbeat as the registry received it; the header names are in lower case."""

    name: str
    headers: dict[str, str]
    body: bytes

    @property
    def closes_connection(self) -> bool:
        return self.headers.get("connection", "").lower() == "close"


def parse_heartbeat(data: bytes) -> Heartbeat | None:
    """Return the heartbeat if these bytes are exactly one usual heartbeat request, else None."""
    head, end, body = data.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    request_line = REQUEST_LINE.fullmatch(first)
    if not end or not request_line:
        return None
    headers: dict[str, str] = {}
    for line in lines:
        field = HEADER_FIELD.fullmatch(line)
        name = field[1].decode().lower() if field else ""
        if not field or name in headers or name in UNUSUAL_HEADERS:
            return None
        headers[name] = (field[2] or b"").decode()
    length = headers.get("content-length", "0")
    is_usual = headers.get("connection", "close").lower() in ("close", "keep-alive") and "host" in headers
    is_whole = length.isdigit() and int(length) == len(body)
    return Heartbeat(request_line[1].decode(), headers, body) if is_usual and is_whole else None


def is_complete(data: bytes) -> bool:
    """Return whether `data` is enough for `parse_heartbeat`: a complete request, or surely not a usual heartbeat."""
    if not data or len(data) >= MAX_HEARTBEAT_BYTES or not data.startswith(REQUEST_START[: len(data)]):
        return bool(data)
    head, end, body = data.partition(b"\r\n\r\n")
    length = CONTENT_LENGTH.search(head)
    return bool(end) and (length is None or len(body) >= int(length[1]))


def response(payload: bytes, now: float, closes_connection: bool) -> bytes:
    """Return the whole HTTP response with `payload`, with the same headers as the application's responses."""
    connection = b"close" if closes_connection else b"keep-alive"
    return RESPONSE % (formatdate(now, usegmt=True).encode(), connection, len(payload), payload)
