"""Handle heartbeats and reports of loads: renew the lease of a service, or keep the load that it reports.

Most requests to a registry are heartbeats and loads. So the worker answers usual heartbeats without Flask, in batches
(svc/registry/heartbeat_server.py). A usual heartbeat is an HTTP/1.1 request of at most MAX_HEARTBEAT_BYTES, without
repeated headers and without headers of proxies or browsers, that does nothing but renew a lease or report a load. Every
other request goes to the Flask application, which handles other heartbeats and loads with the same HeartbeatHandler.
"""

import re
from collections.abc import Callable, Sequence
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from svc.base.errors import SvcError
from svc.perimeter.proxy_headers import PROXY_HEADERS
from svc.protocol.service import iso
from svc.registry import validation
from svc.registry.access.guard import WRITE, Admission
from svc.registry.access.identity import Client
from svc.registry.leases import lease, owner
from svc.registry.leases.lease import LeaseRenewal
from svc.registry.leases.owner import OPERATOR, Caller
from svc.registry.store.contract import LoadReport, Store

if TYPE_CHECKING:
    from svc.registry.metrics import RegistryMetrics

MAX_HEARTBEAT_BYTES = 8192  # the application handles longer ones
HEARTBEAT_START = re.compile(rb"POST /services/[A-Za-z0-9_.-]+/(?:heartbeat|load) HTTP/1\.1\r\n")
CONTENT_LENGTH = re.compile(rb"(?i)\r\ncontent-length:[ \t]*([0-9]{1,4})[ \t]*(?=\r\n|$)")
REQUEST_LINE = r"POST /services/([A-Za-z0-9][A-Za-z0-9_.-]{0,127})/(heartbeat|load) HTTP/1\.1"
HEADER_FIELD = r"\r\n([A-Za-z][A-Za-z-]*):[ \t]*([\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)?[ \t]*(?=\r\n|$)"
REQUEST_HEAD = re.compile(f"{REQUEST_LINE}(?:{HEADER_FIELD})*")
HEADER_FIELDS = re.compile(HEADER_FIELD)
UNUSUAL_HEADERS = PROXY_HEADERS | {"transfer-encoding", "expect", "upgrade", "origin", "sec-fetch-site"}
RESPONSE = (
    b"HTTP/1.1 200 OK\r\nServer: gunicorn\r\nDate: %b\r\nConnection: %b\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
)


class Heartbeat(NamedTuple):
    """A heartbeat or the report of a load, as the registry received it; the header names are in lower case."""

    name: str
    headers: dict[str, str]
    body: bytes
    is_load: bool = False

    @property
    def closes_connection(self) -> bool:
        return self.headers.get("connection", "").lower() == "close"


class HeartbeatHandler:
    """Admits heartbeats and renews the leases of their services."""

    def __init__(
        self, store: Store, admission: Admission, metrics: "RegistryMetrics", clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._admission = admission
        self._metrics = metrics
        self._clock = clock

    def renew_lease(self, client: Client, now: float, name: str, body: bytes) -> dict[str, Any]:
        """Renew the lease of the service `name` and return the answer; raise SvcError to refuse the heartbeat."""
        if not renew_lease(self._store, name, now, _status(body), client.caller):
            raise validation.unknown_service(name)
        self._metrics.heartbeats.inc()
        return _answer(name, iso(now))

    def store_load(self, client: Client, now: float, name: str, body: bytes) -> dict[str, Any]:
        """Store the load of the service `name` and return the answer; raise SvcError to refuse it."""
        report = LoadReport(name, validation.parse_load(body), client.caller)
        if self._store.put_loads([report], now) != [True]:
            service = self._store.get(name)
            if service is None or service.expired:
                raise validation.unknown_service(name)
            owner.check_heartbeat(service, client.caller)
        return _load_answer(name, iso(now))

    def handle_batch(self, heartbeats: Sequence[tuple[str, Heartbeat]]) -> list[bytes | None]:
        """Handle a batch of heartbeats and loads, each with its sender's address, in at most two calls of the store.

        Return the JSON of each answer. Return None for a request that is refused or does more than renew a lease: it
        has changed nothing yet, and the application has to handle it.
        """
        now = self._clock()
        operations = [self._operation(peer, heartbeat) for peer, heartbeat in heartbeats]
        renewals = [entry for entry in operations if isinstance(entry, LeaseRenewal)]
        reports = [entry for entry in operations if isinstance(entry, LoadReport)]
        renewed = self._store.renew_leases(renewals, now) if renewals else []
        stored = self._store.put_loads(reports, now) if reports else []
        self._metrics.heartbeats.inc(sum(renewed))
        timestamp, renewed_next, stored_next = iso(now), iter(renewed), iter(stored)

        def answer(entry: LeaseRenewal | LoadReport | None) -> bytes | None:
            if isinstance(entry, LeaseRenewal) and next(renewed_next):
                return msgspec.json.encode(_answer(entry.name, timestamp))
            if isinstance(entry, LoadReport) and next(stored_next):
                return msgspec.json.encode(_load_answer(entry.name, timestamp))
            return None

        return [answer(entry) for entry in operations]

    def _operation(self, peer: str, heartbeat: Heartbeat) -> LeaseRenewal | LoadReport | None:
        """Return what the store has to do for a request from the address `peer`, or None to refuse the request."""
        try:
            client = self._admission.identify(peer, heartbeat.headers)
            self._admission.check(WRITE, "POST", client, heartbeat.headers)
            if heartbeat.is_load:
                return LoadReport(heartbeat.name, validation.parse_load(heartbeat.body), client.caller)
            return LeaseRenewal(heartbeat.name, _status(heartbeat.body), client.caller)
        except SvcError:
            return None


def renew_lease(store: Store, name: str, now: float, status: str | None, caller: Caller = OPERATOR) -> bool:
    """Renew the lease of one service and set its status; return False for an unknown name, raise SvcError to refuse."""
    if store.renew_leases([LeaseRenewal(name, status, caller)], now) == [True]:
        return True
    return store.change(name, lambda s: s and lease.after_heartbeat(s, now, status, caller)) is not None


def _status(body: bytes) -> str | None:
    return validation.parse_heartbeat_status(validation.parse_body(body))


def _answer(name: str, timestamp: str) -> dict[str, Any]:
    return {"message": f"{name} is alive", "timestamp": timestamp}


def _load_answer(name: str, timestamp: str) -> dict[str, Any]:
    return {"message": f"the load of {name} is known", "timestamp": timestamp}


def parse_heartbeat(data: bytes) -> Heartbeat | None:
    """Return the heartbeat if these bytes are exactly one usual heartbeat request, else None."""
    head, end, body = data.partition(b"\r\n\r\n")
    text = head.decode("latin-1")
    request = REQUEST_HEAD.fullmatch(text)
    if not end or not request:
        return None
    fields = HEADER_FIELDS.findall(text)
    headers = {name.lower(): value for name, value in fields}
    if len(headers) < len(fields) or not UNUSUAL_HEADERS.isdisjoint(headers):
        return None
    length = headers.get("content-length", "0")
    is_usual = headers.get("connection", "close").lower() in ("close", "keep-alive") and "host" in headers
    is_whole = length.isdigit() and int(length) == len(body)
    return Heartbeat(request[1], headers, body, request[2] == "load") if is_usual and is_whole else None


def begins_heartbeat(data: bytes) -> bool:
    """Return whether a request that begins with these bytes may be a usual heartbeat."""
    return HEARTBEAT_START.match(data) is not None and len(data) < MAX_HEARTBEAT_BYTES


def is_complete(data: bytes) -> bool:
    """Return whether `data`, which begins a heartbeat, has the whole head and the whole body."""
    head, end, body = data.partition(b"\r\n\r\n")
    length = CONTENT_LENGTH.search(head)
    return bool(end) and (length is None or len(body) >= int(length[1]))


def response(payload: bytes, now: float, closes_connection: bool) -> bytes:
    """Return a whole HTTP response with the JSON `payload` and the same headers as in the application's responses."""
    connection = b"close" if closes_connection else b"keep-alive"
    return RESPONSE % (formatdate(now, usegmt=True).encode(), connection, len(payload), payload)
