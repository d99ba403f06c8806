"""One HTTP request, sent to many instances at once."""

import dataclasses
import json
import math
import threading
from collections.abc import Callable, Mapping
from typing import Any

import requests

from svc.doctor.together import Late, together
from svc.fetch import fetch

MAX_CONCURRENT_REQUESTS = 16
MAX_ANSWER_BYTES = 1 << 20
CHUNK_BYTES = 1 << 16


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """What is sent: `path` may have a query, `body` is JSON; `timeout` in seconds, for each instance."""

    method: str
    path: str
    body: bytes | None = None
    timeout: float = 300.0

    @property
    def changes(self) -> bool:
        """Whether an instance may be another afterwards."""
        return self.method not in ("GET", "HEAD")


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """An instance's answer; without one, status 0 and the reason."""

    status: int = 0
    body: bytes = b""
    reason: str = ""

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """Return the body as JSON, or None where it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


def send(request: Request, url: str, headers: Mapping[str, str], verify: str | bool = True) -> Outcome:
    """Return the answer of the server at `url`. A redirect is an answer: it is not followed."""
    more = {"Content-Type": "application/json"} if request.body is not None else {}
    try:
        answer = fetch(
            request.method, url + request.path, request.timeout, data=request.body, headers={**more, **headers},
            verify=verify, stream=True,
        )  # fmt: skip
        with answer:
            return Outcome(answer.status_code, _body(answer))
    except requests.Timeout:
        return Outcome(reason=_late(request))
    except (requests.RequestException, OSError) as error:  # OSError: of certificates that are not there
        return Outcome(reason="connection refused" if "refused" in str(error) else f"no answer: {type(error).__name__}")


def fan_out(timeout: float, calls: Mapping[str, Callable[[], Outcome]]) -> dict[str, Outcome]:
    """Return the outcome of each call, of which MAX_CONCURRENT_REQUESTS run at once, `timeout` seconds each at most."""
    slots = threading.BoundedSemaphore(MAX_CONCURRENT_REQUESTS)

    def limited(call: Callable[[], Outcome]) -> Callable[[], Outcome]:
        def run() -> Outcome:
            with slots:
                return call()

        return run

    seconds = timeout * math.ceil(len(calls) / MAX_CONCURRENT_REQUESTS) + 1
    results = together({name: limited(call) for name, call in calls.items()}, seconds)
    return {name: _outcome(result, timeout) for name, result in results.items()}


def _outcome(result: Outcome | Exception, timeout: float) -> Outcome:
    if isinstance(result, Outcome):
        return result
    if isinstance(result, Late):
        return Outcome(reason=f"no whole answer within {timeout:g} s")
    raise result


def _body(answer: requests.Response) -> bytes:
    body = b""
    for chunk in answer.iter_content(CHUNK_BYTES):
        body += chunk
        if len(body) >= MAX_ANSWER_BYTES:
            break
    return body[:MAX_ANSWER_BYTES]


def _late(request: Request) -> str:
    doubt = "; it may have done it all the same" if request.changes else ""
    return f"no answer within {request.timeout:g} s{doubt}"
