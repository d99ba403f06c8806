"""An HTTP request that is sent to many instances concurrently."""

import dataclasses
import json
import math
import threading
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import requests
import urllib3

from svc.base.http import fetch
from svc.base.parallel import CallTimeout, run_parallel

MAX_CONCURRENT_REQUESTS = 16
MAX_ANSWER_BYTES = 1 << 20
CHUNK_BYTES = 1 << 16


@dataclasses.dataclass(frozen=True, slots=True)
class ManagementRequest:
    """An HTTP request to engines. `path` may have a query, `body` is JSON, `timeout` is in seconds per instance."""

    method: str
    path: str
    body: bytes | None = None
    timeout: float = 300.0

    @property
    def changes(self) -> bool:
        """Return whether a request with this method may change the engine."""
        return self.method not in ("GET", "HEAD")


@dataclasses.dataclass(frozen=True, slots=True)
class EngineResponse:
    """The response of an instance. If there was none, `status` is 0 and `reason` is the cause."""

    status: int = 0
    body: bytes = b""
    reason: str = ""

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """Return the body as JSON, or None when it is not JSON."""
        try:
            return json.loads(self.body, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            return None


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def send(request: ManagementRequest, url: str, headers: Mapping[str, str], verify: str | bool = True) -> EngineResponse:
    """Send the request to the server at `url` and return its response. Redirects are returned, not followed.

    `verify` is a file with CA certificates, or whether the server's certificate is verified.
    """
    content_type = {"Content-Type": "application/json"} if request.body is not None else {}
    try:
        answer = fetch(
            request.method,
            url + request.path,
            request.timeout,
            data=request.body,
            headers={**content_type, **headers},
            verify=verify,
            stream=True,
        )
        with answer:
            return EngineResponse(answer.status_code, _body(answer))
    except (requests.RequestException, OSError) as error:  # OSError: a certificate file is missing
        return EngineResponse(reason=_reason(request, error))


def fan_out(timeout: float, calls: Mapping[str, Callable[[], EngineResponse]]) -> dict[str, EngineResponse]:
    """Make the calls, MAX_CONCURRENT_REQUESTS at once, each for at most `timeout` seconds; return their responses."""
    slots = threading.BoundedSemaphore(MAX_CONCURRENT_REQUESTS)

    def limited(call: Callable[[], EngineResponse]) -> Callable[[], EngineResponse]:
        def run() -> EngineResponse:
            with slots:
                return call()

        return run

    seconds = timeout * math.ceil(len(calls) / MAX_CONCURRENT_REQUESTS) + 1
    results = run_parallel({name: limited(call) for name, call in calls.items()}, seconds)
    return {name: _response(result, timeout) for name, result in results.items()}


def _response(result: EngineResponse | Exception, timeout: float) -> EngineResponse:
    if isinstance(result, EngineResponse):
        return result
    if isinstance(result, CallTimeout):
        return EngineResponse(reason=f"no whole answer within {timeout:g} s")
    raise result


def _body(answer: requests.Response) -> bytes:
    body = b""
    for chunk in answer.iter_content(CHUNK_BYTES):
        body += chunk
        if len(body) >= MAX_ANSWER_BYTES:
            break
    return body[:MAX_ANSWER_BYTES]


def _reason(request: ManagementRequest, error: Exception) -> str:
    """Return the reason for the missing response, and whether the request may have taken effect nevertheless."""
    doubt = "; it may have done it all the same" if request.changes else ""
    cause = error.args[0] if error.args else None
    if isinstance(error, requests.ConnectTimeout):
        return f"no connection within {request.timeout:g} s"
    if isinstance(error, requests.Timeout):
        return f"no answer within {request.timeout:g} s{doubt}"
    if isinstance(cause, urllib3.exceptions.ProtocolError) or isinstance(
        error, requests.exceptions.ChunkedEncodingError
    ):
        return f"the connection ended before the answer did{doubt}"
    if "refused" in str(error):
        return "connection refused"
    return f"no connection: {type(error).__name__}"
