"""A request and its reply, and the wire between them.

The mock needs more than WSGI gives: to wait and see the client leave, and to cut the
connection. That is the `Wire`, which the server puts into the environ.
"""

import errno
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol, TypeVar

import msgspec

from svc.base import errors
from svc.base.errors import NotAllowed, NotFound, SvcError, TooLarge
from svc.mock import messages

WIRE = "svc.mock.wire"
BODY_LIMIT = 256 << 20
Owner = TypeVar("Owner")

encode = msgspec.json.encode


class ClientLeft(ConnectionResetError):
    """Seen while waiting or reading."""

    def __init__(self) -> None:
        super().__init__(errno.ECONNRESET, "the client left")


class Cut(ConnectionResetError):
    """The mock closed the connection."""

    def __init__(self) -> None:
        super().__init__(errno.ECONNRESET, "cut by the mock")


class Wire(Protocol):
    target: str  # path and query as they came

    def headers(self) -> Iterable[tuple[str, str]]: ...

    def pause(self, seconds: float | None) -> None:
        """Waits, for ever with None; raises ClientLeft as soon as the client goes."""

    def abort(self, reset: bool) -> NoReturn:
        """Closes the connection, with a reset or as one that ended; raises Cut."""


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    query: str
    headers: dict[str, str]
    wire: Wire
    body: bytes = b""

    @property
    def is_head(self) -> bool:
        return self.method == "HEAD"


@dataclass(frozen=True, slots=True)
class Reply:
    """A body, or events with whether the model takes time for each; `tokens` is what the body took."""

    status: int = 200
    body: bytes = b""
    events: Iterable[tuple[bool, bytes]] | None = None
    tokens: int = 0
    kind: str = "application/json"  # of the body


Methods = dict[str, Callable[[Owner, Request], Reply]]


def request(environ: dict[str, Any]) -> Request:
    """The request without its body."""
    wire: Wire = environ[WIRE]
    headers: dict[str, str] = {}
    for name, value in wire.headers():
        name = name.lower()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    path = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace")
    return Request(environ["REQUEST_METHOD"], path, environ["QUERY_STRING"], headers, wire)


def body(environ: dict[str, Any]) -> bytes:
    """The request's body; TooLarge, or ClientLeft when it ends early."""
    too_large = TooLarge(f"cannot read a body over {BODY_LIMIT >> 20} MB")
    if int(environ.get("CONTENT_LENGTH") or 0) > BODY_LIMIT:
        raise too_large
    try:
        content: bytes = environ["wsgi.input"].read(BODY_LIMIT + 1)
    except OSError:
        raise ClientLeft from None
    if len(content) > BODY_LIMIT:
        raise too_large
    return content


def dispatch(routes: dict[str, Methods[Owner]], owner: Owner, request: Request) -> Reply:
    """Calls what the table names for path and method; HEAD is a GET whose body is not sent."""
    methods = routes.get(request.path)
    if methods is None:
        raise NotFound(f"no such path: {request.path}")
    handler = methods.get("GET" if request.is_head else request.method)
    if handler is None:
        raise NotAllowed(f"cannot {request.method} {request.path}: it takes {', '.join(methods)}")
    return handler(owner, request)


def json(value: object, status: int = 200) -> Reply:
    return Reply(status, encode(value))


def refusal(error: SvcError, path: str, status: int | None = None) -> Reply:
    """In the dialect of the path; `status` in place of the error's own."""
    status = status or error.status
    told = messages.error(error, status) if path == messages.PATH else errors.body(error)
    return json(told, status)
