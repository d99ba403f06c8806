"""Converts parsed requests to WSGI, for the router's own Flask app, and back, for requests from other WSGI servers."""

import io
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

from svc.router.http.request import (
    DEFAULT_RULES,
    DROPPED_HEADERS,
    HeadRules,
    Request,
    RequestHead,
    drop_hop_headers,
    origin_form,
)

EVENT_STREAM = "text/event-stream; charset=utf-8"  # the only type of response that is sent in parts
DISCARD_CHUNK_BYTES = 64 << 10
UNPREFIXED_KEYS = ("CONTENT_TYPE", "CONTENT_LENGTH")


class WsgiResponse(NamedTuple):
    """A response of the app. `parts`: the iterable of an event stream, which must be closed; None for a whole body."""

    status: str
    headers: list[tuple[str, str]]
    body: bytes = b""
    parts: Any = None


Answer = Callable[[Request, str], WsgiResponse]  # answers a request for the router's own endpoints; str: who sent it


def call(app: Callable[..., Any], request: Request, address: str) -> WsgiResponse:
    """Return the app's response, without the headers Content-Length and Connection.

    The body is whole, unless the response is an event stream. `address`: the address of the client.
    """
    return respond(app, environ(request, address))


def respond(app: Callable[..., Any], environ: dict[str, Any]) -> WsgiResponse:
    """Return the app's response to a request with this WSGI environment, as `call` does."""
    status, all_headers = "", list[tuple[str, str]]()

    def start_response(new_status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        nonlocal status, all_headers
        status, all_headers = new_status, headers

    parts = app(environ, start_response)
    headers = [header for header in all_headers if header[0].lower() not in ("content-length", "connection")]
    if ("Content-Type", EVENT_STREAM) in headers:
        return WsgiResponse(status, headers, parts=parts)
    try:
        body = b"".join(parts)
    finally:
        if hasattr(parts, "close"):
            parts.close()
    return WsgiResponse(status, headers, body)


def environ(request: Request, address: str) -> dict[str, Any]:
    """Return the WSGI environment (PEP 3333) of a request."""
    return complete_environ(request_variables(request, address), request.body)


def complete_environ(variables: dict[str, str], body: bytes) -> dict[str, Any]:
    """Return the WSGI environment of a request with these variables and this body."""
    return {
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **variables,
    }


def request_variables(request: Request, address: str) -> dict[str, str]:
    """Return the variables of a request's WSGI environment. A HEAD becomes a GET; the caller does not send the body."""
    head = request.head
    path, _, query = head.uri.partition(b"?")
    variables = {
        "REQUEST_METHOD": "GET" if head.method_text == "HEAD" else head.method_text,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query.decode("latin-1"),
        "RAW_URI": head.uri_text,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.0" if head.http10 else "HTTP/1.1",
        "REMOTE_ADDR": address,
        "CONTENT_LENGTH": str(len(request.body)),
    }
    for name, value in (*head.headers, *head.special.items()):
        key = name.decode("latin-1").upper().replace("-", "_")
        if key not in ("CONTENT_LENGTH", "CONNECTION", "UPGRADE"):  # with UPGRADE, werkzeug would expect a WebSocket
            key = key if key in UNPREFIXED_KEYS else f"HTTP_{key}"
            text = value.decode("latin-1")
            variables[key] = f"{variables[key]}, {text}" if key in variables else text
    return variables


def head_of(
    environ: Mapping[str, Any], not_passed: frozenset[bytes] = DROPPED_HEADERS, rules: HeadRules = DEFAULT_RULES
) -> RequestHead:
    """Return the head of a request that another WSGI server has parsed. `not_passed`: the headers not to pass on."""
    headers, special = [], {}
    for key, value in environ.items():
        if not key.startswith("HTTP_") and key not in UNPREFIXED_KEYS or not value:
            continue
        name = key.removeprefix("HTTP_").replace("_", "-").title().encode("latin-1")
        if name.lower() in not_passed:
            special[name.lower()] = value.encode("latin-1")
        else:
            headers.append((name, value.encode("latin-1")))
    headers = list(drop_hop_headers(headers, special.get(b"connection", b"")))
    special.pop(b"upgrade", None)  # ignored: a WSGI server cannot hand its connection over
    return RequestHead(environ["REQUEST_METHOD"].encode("latin-1"), uri_of(environ), headers, special, rules=rules)


def declared_size(environ: Mapping[str, Any]) -> int | None:
    """Return the length of the request's body; None if the head does not state it."""
    if environ.get("CONTENT_LENGTH"):
        return int(environ["CONTENT_LENGTH"])
    return None if "HTTP_TRANSFER_ENCODING" in environ else 0


def body_of(environ: Mapping[str, Any], max_body: int) -> bytes:
    """Return at most `max_body` + 1 bytes of the request's body: with one byte too many, the caller can refuse it."""
    size = declared_size(environ)
    return b"" if size == 0 else environ["wsgi.input"].read(max_body + 1 if size is None else min(size, max_body + 1))


def discard_body(environ: Mapping[str, Any], limit: int) -> None:
    """Read and discard the rest of a refused request's body, up to `limit` bytes.

    If a server closes a connection with unread bytes, the connection is reset and the error does not reach the client.
    """
    remaining = limit if "HTTP_TRANSFER_ENCODING" in environ else min(declared_size(environ) or 0, limit)
    with suppress(OSError):  # the client has gone
        while remaining > 0 and (data := environ["wsgi.input"].read(min(remaining, DISCARD_CHUNK_BYTES))):
            remaining -= len(data)


def uri_of(environ: Mapping[str, Any]) -> bytes:
    """Return path and query as the client has sent them, or rebuilt if the server has not kept them."""
    uri = environ.get("RAW_URI") or environ.get("REQUEST_URI") or _rebuilt_uri(environ)
    return origin_form(uri.encode("latin-1"))


def _rebuilt_uri(environ: Mapping[str, Any]) -> str:
    from urllib.parse import quote

    path = quote(environ.get("PATH_INFO", "/").encode("latin-1"), safe="/:@!$&'()*+,;=~")
    return path + (f"?{environ['QUERY_STRING']}" if environ.get("QUERY_STRING") else "")
