"""Handle heartbeats: renew the lease of the service that sends one.

Most requests to a registry are heartbeats. So the worker answers a usual heartbeat without Flask: an HTTP/1.1 request
of at most MAX_HEARTBEAT_BYTES, without repeated headers and without headers of proxies or browsers. Every other request
goes to the Flask application, which handles unusual heartbeats with the same HeartbeatHandler.
"""

import re
from collections.abc import Callable
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from svc.protocol.service import iso
from svc.registry import validation
from svc.registry.access.guard import WRITE, Admission
from svc.registry.access.identity import PROXY_HEADERS, Client
from svc.registry.store.contract import Store

if TYPE_CHECKING:
    from svc.registry.metrics import RegistryMetrics

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


class HeartbeatHandler:
    """Admits heartbeats and renews the leases of their services. The renewal itself is `Store.renew_lease`."""

    def __init__(
        self, store: Store, admission: Admission, metrics: "RegistryMetrics", clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._admission = admission
        self._metrics = metrics
        self._clock = clock

    def renew_lease(self, client: Client, now: float, name: str, body: bytes) -> dict[str, Any]:
        """Renew the lease of the service `name` and return the answer; raise SvcError to refuse the heartbeat."""
        status = validation.parse_heartbeat_status(validation.parse_body(body))
        if not self._store.renew_lease(name, now, status, client.caller):
            raise validation.unknown_service(name)
        self._metrics.heartbeats.inc()
        return {"message": f"{name} is alive", "timestamp": iso(now)}

    def handle(self, peer: str, heartbeat: Heartbeat) -> bytes:
        """Admit a heartbeat from the address `peer`, renew the lease, and return the answer as JSON; raise SvcError."""
        client = self._admission.identify(peer, heartbeat.headers)
        self._admission.check(WRITE, "POST", client, heartbeat.headers)
        return msgspec.json.encode(self.renew_lease(client, self._clock(), heartbeat.name, heartbeat.body))


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
    """Return whether `data` is a complete request, or cannot be the beginning of a usual heartbeat."""
    if not data or len(data) >= MAX_HEARTBEAT_BYTES or not data.startswith(REQUEST_START[: len(data)]):
        return bool(data)
    head, end, body = data.partition(b"\r\n\r\n")
    length = CONTENT_LENGTH.search(head)
    return bool(end) and (length is None or len(body) >= int(length[1]))


def response(payload: bytes, now: float, closes_connection: bool) -> bytes:
    """Return the whole HTTP response: the same headers as in the application's responses, and `payload`."""
    connection = b"close" if closes_connection else b"keep-alive"
    return RESPONSE % (formatdate(now, usegmt=True).encode(), connection, len(payload), payload)
