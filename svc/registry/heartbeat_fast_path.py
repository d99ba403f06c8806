"""Heartbeats as they come over the wire, which are most of what a registry hears: pure.

Only the usual ones are read here, for the short way of the worker; what is
unusual in any way is the application's.
"""

import re
from email.utils import formatdate
from typing import NamedTuple

from svc.registry.access.identity import PROXY_HEADERS

LIMIT = 8192  # bytes; a longer one goes the long way
START = b"POST /services/"
LINE = re.compile(rb"POST /services/([A-Za-z0-9][A-Za-z0-9_.-]{0,127})/heartbeat HTTP/1\.1")
FIELD = re.compile(rb"([A-Za-z][A-Za-z-]*):[ \t]*([\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)?[ \t]*")
LENGTH = re.compile(rb"(?i)\r\ncontent-length:[ \t]*([0-9]{1,4})[ \t]*(?=\r\n|$)")
UNUSUAL = PROXY_HEADERS | {"transfer-encoding", "expect", "upgrade", "origin", "sec-fetch-site"}
ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: gunicorn\r\nDate: %b\r\nConnection: %b\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
)


class Heard(NamedTuple):
    name: str
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def last(self) -> bool:
        """Whether the sender asks no more on this connection."""
        return self.headers.get("connection", "").lower() == "close"


def read(data: bytes) -> Heard | None:
    """The heartbeat that these bytes are, when they are one and nothing else: pure."""
    head, end, body = data.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    line = LINE.fullmatch(first)
    if not end or not line:
        return None
    headers: dict[str, str] = {}
    for one in lines:
        field = FIELD.fullmatch(one)
        name = field[1].decode().lower() if field else ""
        if not field or name in headers or name in UNUSUAL:
            return None
        headers[name] = (field[2] or b"").decode()
    length = headers.get("content-length", "0")
    usual = headers.get("connection", "close").lower() in ("close", "keep-alive") and "host" in headers
    whole = length.isdigit() and int(length) == len(body)
    return Heard(line[1].decode(), headers, body) if usual and whole else None


def ends(data: bytes) -> bool:
    """Whether nothing more is to be waited for before `read`."""
    if not data or len(data) >= LIMIT or not data.startswith(START[: len(data)]):
        return bool(data)
    head, end, body = data.partition(b"\r\n\r\n")
    length = LENGTH.search(head)
    return bool(end) and (length is None or len(body) >= int(length[1]))


def answer(told: bytes, now: float, last: bool) -> bytes:
    """What the application would answer; `last`: the connection ends with it."""
    return ANSWER % (formatdate(now, usegmt=True).encode(), b"close" if last else b"keep-alive", len(told), told)
