"""The types of requests, replies and connections, and the dispatch of paths to handlers.

WSGI gives an application no way to notice during a wait that the client has closed the connection, and no way to close
a connection in the middle of an answer. The mock needs both, so the server puts a `Connection` into the WSGI environ.
"""

import errno
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol, TypeVar

import msgspec

from svc.base import errors
from svc.base.errors import NotAllowed, NotFound, SvcError, TooLarge
from svc.mock import anthropic_messages

CONNECTION_KEY = "svc.mock.connection"  # key in the WSGI environ
MAX_BODY_BYTES = 256 << 20
Owner = TypeVar("Owner")


class ClientLeft(ConnectionResetError):
    """The client closed its connection while the mock was waiting or reading."""

    def __init__(self) -> None:
        super().__init__(errno.ECONNRESET, "the client left")


class CutByMock(ConnectionResetError):
    """The mock closed the connection on purpose."""

    def __init__(self) -> None:
        super().__init__(errno.ECONNRESET, "cut by the mock")


class Connection(Protocol):
    target: str  # path and query, as the client sent them

    def headers(self) -> Iterable[tuple[str, str]]: ...

    def pause(self, seconds: float | None) -> None:
        """Wait for some seconds, or for ever if None; raise ClientLeft as soon as the client closes the connection."""

    def abort(self, reset: bool) -> NoReturn:
        """Close the connection with a TCP reset, or with a FIN if `reset` is false; raise CutByMock."""


@dataclass(frozen=True, slots=True)
class MockRequest:
    method: str
    path: str
    query: str
    headers: dict[str, str]
    connection: Connection
    body: bytes = b""

    @property
    def is_head(self) -> bool:
        return self.method == "HEAD"


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply with a body or with events. Each event is a pair: whether it carries a token, and its bytes."""

    status: int = 200
    body: bytes = b""
    events: Iterable[tuple[bool, bytes]] | None = None
    tokens: int = 0  # number of tokens generated for the body
    content_type: str = "application/json"  # type of the body


Methods = dict[str, Callable[[Owner, MockRequest], Reply]]


def read_head(environ: dict[str, Any]) -> MockRequest:
    """Return the request from a WSGI environ, without its body."""
    connection: Connection = environ[CONNECTION_KEY]
    headers: dict[str, str] = {}
    for name, value in connection.headers():
        name = name.lower()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    path = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace")
    return MockRequest(environ["REQUEST_METHOD"], path, environ["QUERY_STRING"], headers, connection)


def read_body(environ: dict[str, Any]) -> bytes:
    """Return the request's body; raise TooLarge, or ClientLeft if the body ends early."""
    too_large = TooLarge(f"cannot read a body over {MAX_BODY_BYTES >> 20} MB")
    if int(environ.get("CONTENT_LENGTH") or 0) > MAX_BODY_BYTES:
        raise too_large
    try:
        content: bytes = environ["wsgi.input"].read(MAX_BODY_BYTES + 1)
    except OSError:
        raise ClientLeft from None
    if len(content) > MAX_BODY_BYTES:
        raise too_large
    return content


def dispatch(routes: dict[str, Methods[Owner]], owner: Owner, request: MockRequest) -> Reply:
    """Return the reply of the handler for the path and method; a HEAD request gets the handler of GET."""
    methods = routes.get(request.path)
    if methods is None:
        raise NotFound(f"no such path: {request.path}")
    handler = methods.get("GET" if request.is_head else request.method)
    if handler is None:
        raise NotAllowed(f"cannot {request.method} {request.path}: it takes {', '.join(methods)}")
    return handler(owner, request)


def json_reply(value: object, status: int = 200, tokens: int = 0) -> Reply:
    return Reply(status, msgspec.json.encode(value), tokens=tokens)


def text_reply(text: str, tokens: int = 0) -> Reply:
    return Reply(body=text.encode(), tokens=tokens, content_type="text/plain; charset=utf-8")


def error_reply(error: SvcError, path: str, status: int | None = None) -> Reply:
    """Return the reply for an error in the format of the path's API; `status` replaces the error's own status."""
    status = status or error.status
    is_anthropic = path.startswith(anthropic_messages.PATH)
    return json_reply(
        anthropic_messages.error_body(error, status) if is_anthropic else errors.error_object(error), status
    )
