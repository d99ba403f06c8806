"""Between a parsed request and WSGI, both ways: the Flask app is called with what the worker has read already."""

import io
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

from svc.router.http.request import (
    DEFAULT_RULES,
    HOP_HEADERS,
    HeadRules,
    Request,
    RequestHead,
    drop_hop_headers,
    origin_form,
)

EVENTS = "text/event-stream; charset=utf-8"  # the one kind of answer that comes in parts
DISCARD_BYTES = 64 << 10
UNPREFIXED = ("CONTENT_TYPE", "CONTENT_LENGTH")


class WsgiAnswer(NamedTuple):
    """`parts`: of one that comes bit by bit, and has to be closed."""

    status: str
    headers: list[tuple[str, str]]
    body: bytes = b""
    parts: Any = None


def call(app: Callable[..., Any], request: Request, address: str) -> WsgiAnswer:
    """What the app answers, without a length or connection headers: whole, unless it is a stream of events."""
    told: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        told[:] = [status, headers]

    parts = app(environ(request, address), start_response)
    headers = [h for h in told[1] if h[0].lower() not in ("content-length", "connection")]
    if ("Content-Type", EVENTS) in headers:
        return WsgiAnswer(told[0], headers, parts=parts)
    try:
        body = b"".join(parts)
    finally:
        if hasattr(parts, "close"):
            parts.close()
    return WsgiAnswer(told[0], headers, body)


def environ(request: Request, address: str) -> dict[str, Any]:
    """PEP 3333's dictionary. HEAD is asked as GET: who sends the answer tells the length and leaves the body out."""
    head = request.head
    path, _, query = head.target.partition(b"?")
    made: dict[str, Any] = {
        "REQUEST_METHOD": "GET" if head.verb == "HEAD" else head.verb,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query.decode("latin-1"),
        "RAW_URI": head.path,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.0" if head.http10 else "HTTP/1.1",
        "REMOTE_ADDR": address,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "CONTENT_LENGTH": str(len(request.body)),
    }
    for name, value in (*head.headers, *head.special.items()):
        key = name.decode("latin-1").upper().replace("-", "_")
        if key not in ("CONTENT_LENGTH", "CONNECTION", "UPGRADE"):  # werkzeug would take it for a WebSocket
            key = key if key in UNPREFIXED else f"HTTP_{key}"
            text = value.decode("latin-1")
            made[key] = f"{made[key]}, {text}" if key in made else text
    return made


def head_of(
    environ: Mapping[str, Any], not_passed: frozenset[bytes] = HOP_HEADERS, rules: HeadRules = DEFAULT_RULES
) -> RequestHead:
    """The request's head as another WSGI server has read it."""
    headers, special = [], {}
    for key, value in environ.items():
        if not key.startswith("HTTP_") and key not in UNPREFIXED or not value:
            continue
        name = key.removeprefix("HTTP_").replace("_", "-").title().encode("latin-1")
        if name.lower() in not_passed:
            special[name.lower()] = value.encode("latin-1")
        else:
            headers.append((name, value.encode("latin-1")))
    headers = list(drop_hop_headers(headers, special.get(b"connection", b"")))
    special.pop(b"upgrade", None)  # ignored: a WSGI server cannot hand its connection over
    return RequestHead(environ["REQUEST_METHOD"].encode("latin-1"), target_of(environ), headers, special, rules=rules)


def declared_size(environ: Mapping[str, Any]) -> int | None:
    """The length of the request's body as its head says it, None where that does not say it."""
    if environ.get("CONTENT_LENGTH"):
        return int(environ["CONTENT_LENGTH"])
    return None if "HTTP_TRANSFER_ENCODING" in environ else 0


def body_of(environ: Mapping[str, Any], max_body: int) -> bytes:
    """The request's body; one over `max_body` bytes is read no further than that."""
    size = declared_size(environ)
    return b"" if size == 0 else environ["wsgi.input"].read(max_body + 1 if size is None else min(size, max_body + 1))


def discard_body(environ: Mapping[str, Any], limit: int) -> None:
    """Reads what is left of a refused request's body, up to `limit` bytes, and keeps nothing of it.

    A server that closes a connection with bytes unread resets it, and the error is lost on its way.
    """
    left = limit if "HTTP_TRANSFER_ENCODING" in environ else min(declared_size(environ) or 0, limit)
    with suppress(OSError):  # the client has gone
        while left > 0 and (data := environ["wsgi.input"].read(min(left, DISCARD_BYTES))):
            left -= len(data)


def target_of(environ: Mapping[str, Any]) -> bytes:
    """Path and query as they came, where the server tells."""
    target = environ.get("RAW_URI") or environ.get("REQUEST_URI") or _target(environ)
    return origin_form(target.encode("latin-1"))


def _target(environ: Mapping[str, Any]) -> str:
    from urllib.parse import quote

    path = quote(environ.get("PATH_INFO", "/").encode("latin-1"), safe="/:@!$&'()*+,;=~")
    return path + (f"?{environ['QUERY_STRING']}" if environ.get("QUERY_STRING") else "")
