"""A WSGI application for a server with few endpoints of fixed paths, where Flask would cost too much at the start.

The import of Flask takes a fifth of the CPU time in which a babysitter starts, and a host starts all of its babysitters
at once. Responses are those of the Flask apps of svc: JSON in the same form, errors in OpenAI's format, and the version
in /health.
"""

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from svc.base import version
from svc.base.errors import BadRequest, NotAllowed, NotFound, SvcError, error_object, internal_error
from svc.base.route import Route, summary

log = logging.getLogger(__name__)
JSON_TYPE = "application/json"
UNPREFIXED_HEADERS = ("content-type", "content-length")  # WSGI's environ has all other headers under HTTP_NAME


class WsgiHeaders:
    """The headers of a request, as a WSGI server has parsed them."""

    def __init__(self, environ: Mapping[str, Any]) -> None:
        self._environ = environ

    def get(self, name: str) -> str | None:
        """Return the value of a header, whose name is given in lower case; None without the header."""
        key = name.replace("-", "_").upper()
        value: str | None = self._environ.get(key if name in UNPREFIXED_HEADERS else f"HTTP_{key}")
        return value


class WsgiRequest:
    """One request. `path` is decoded, and has no query."""

    def __init__(self, environ: Mapping[str, Any]) -> None:
        self.method: str = environ["REQUEST_METHOD"]
        self.path: str = environ.get("PATH_INFO", "")
        self.headers = WsgiHeaders(environ)
        self._environ = environ

    def body(self) -> bytes:
        """Return the body, which the server has limited in size and in time."""
        try:
            content: bytes = self._environ["wsgi.input"].read(int(self._environ.get("CONTENT_LENGTH") or 0))
        except OSError as error:
            raise BadRequest(f"cannot read the body: {error}") from None
        return content


class Response(NamedTuple):
    body: bytes
    status: int = 200
    content_type: str = JSON_TYPE
    headers: Mapping[str, str] = {}


View = Callable[[WsgiRequest], Response]


class JsonApp:
    """The application. `check` is called with each request first, and raises SvcError for one that must be refused."""

    def __init__(self, check: Callable[[WsgiRequest], None]) -> None:
        self._check = check
        self._views: dict[str, dict[str, View]] = {}  # path -> method -> view
        self._version = version.running()

    def get(self, path: str) -> Callable[[View], View]:
        """Return a decorator: its function answers GET and HEAD requests for the path."""
        return self._decorator("GET", path)

    def post(self, path: str) -> Callable[[View], View]:
        """Return a decorator: its function answers POST requests for the path."""
        return self._decorator("POST", path)

    def routes(self) -> list[Route]:
        """Return the routes, sorted by path and method."""
        return [
            Route(method, path, view.__name__, summary(view))
            for path, views in sorted(self._views.items())
            for method, view in sorted(views.items())
        ]

    def __call__(self, environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        request = WsgiRequest(environ)
        response = self._respond(request)
        headers = {"Content-Type": response.content_type, "Content-Length": str(len(response.body)), **response.headers}
        if request.path == "/health":
            headers[version.HEADER] = self._version
        start_response(f"{response.status} {HTTPStatus(response.status).phrase}", list(headers.items()))
        return () if request.method == "HEAD" else (response.body,)

    def _decorator(self, method: str, path: str) -> Callable[[View], View]:
        def add(view: View) -> View:
            self._views.setdefault(path, {})[method] = view
            return view

        return add

    def _respond(self, request: WsgiRequest) -> Response:
        try:
            self._check(request)
            return self._dispatch(request)
        except SvcError as error:
            return _error_response(error)
        except Exception:
            log.exception("unexpected failure")
            return _error_response(internal_error())

    def _dispatch(self, request: WsgiRequest) -> Response:
        if not (views := self._views.get(request.path)):
            raise NotFound(
                "The requested URL was not found on the server. If you entered the URL manually please check your "
                "spelling and try again."
            )
        if view := views.get("GET" if request.method == "HEAD" else request.method):
            return view(request)
        allowed = {"Allow": ", ".join(sorted({*views, "OPTIONS"} | ({"HEAD"} if "GET" in views else set())))}
        if request.method == "OPTIONS":
            return Response(b"", headers=allowed)
        return _error_response(NotAllowed("The method is not allowed for the requested URL."), allowed)


def json_response(value: Any, status: int = 200) -> Response:
    """Return a response with a value as JSON, in the form of Flask's `jsonify`."""
    return Response(f"{json.dumps(value, separators=(',', ':'), sort_keys=True)}\n".encode(), status)


def _error_response(error: SvcError, headers: Mapping[str, str] | None = None) -> Response:
    return json_response(error_object(error), error.status)._replace(headers=headers or error.headers())
