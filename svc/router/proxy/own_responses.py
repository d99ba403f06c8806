"""The bytes of the responses that the router itself composes: of its own endpoints, and errors. Pure."""

from collections.abc import Iterable
from http import HTTPStatus

from svc.base.errors import SvcError
from svc.router.http.error_dialect import error_body
from svc.router.http.request import RequestHead
from svc.router.wsgi import WsgiResponse


def error_response(error: SvcError, uri: bytes, request_id: bytes, cors: Iterable[tuple[str, str]]) -> WsgiResponse:
    """Return the response to a request that failed. `uri`: the request's URI, whose path decides the format."""
    headers = [("Content-Type", "application/json"), *error.headers().items(), *cors]
    if request_id:
        headers.append(("x-request-id", request_id.decode("latin-1")))
    return WsgiResponse(f"{error.status} {HTTPStatus(error.status).phrase}", headers, error_body(error, uri))


def json_response(body: bytes) -> WsgiResponse:
    return WsgiResponse("200 OK", [("Content-Type", "application/json")], body)


def whole_response(response: WsgiResponse, head: RequestHead | None, keep: bool) -> bytes:
    """Return the bytes of head and body of a response.

    `head`: the head of the request, None if it could not be read; `keep`: whether the connection is kept open.
    """
    headers = [] if response.status.startswith("304") else [("Content-Length", str(len(response.body)))]
    if not keep:
        headers.append(("Connection", "close"))
    elif head is not None and head.http10:
        headers.append(("Connection", "keep-alive"))
    head_only = head is not None and head.method == b"HEAD"
    return response_head(response, headers) + (b"" if head_only else response.body)


def response_head(response: WsgiResponse, more: list[tuple[str, str]]) -> bytes:
    """Return the bytes of the head of a response, with the headers in `more` added."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in (*response.headers, *more))
    return f"HTTP/1.1 {response.status}\r\n{lines}\r\n".encode("latin-1")
