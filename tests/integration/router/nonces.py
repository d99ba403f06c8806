"""Requests that carry a nonce, and the judgement whether an answer is the request's own."""

import itertools
import json
import time
from typing import Any

from tests.integration.router.framing import Answer
from tests.integration.router.recorded import NONCE, Recorded
from tests.integration.router.scripted import Attempt

TIMEOUT = 1.0  # seconds: the router's --first-byte-timeout and --idle-timeout in these tests
ROUTER_ERRORS = (502, 503, 504)
ROUTER_ERROR = b'{"error":'
ERROR_EVENT = b'data: {"error":'
LARGE_BODY = 5 << 20  # bytes; more than the buffers between the router and an instance that does not read
NUMBERS = itertools.count(1)


def new_nonce() -> bytes:
    return b"nonce-%012x" % next(NUMBERS)


class Request:
    """A request of a client, and the answers that instances began for it."""

    def __init__(self, method: str, http10: bool, keep_alive: bool, named: bool, large: bool = False) -> None:
        self.nonce = new_nonce()
        self.head_only = method == "HEAD"
        self.http10 = http10
        self.keep_alive = keep_alive
        self.started = time.monotonic()
        self.sendings: list[Sending] = []
        self.harmed = False  # an instance has given the router a reason for an error
        self.data = self._bytes(method, named, large)

    def _bytes(self, method: str, named: bool, large: bool) -> bytes:
        lines = [b"Host: router"]
        if named or large:
            lines.append(b"X-Nonce: " + self.nonce)
        if large:
            lines.append(b"X-Pause: yes")
        if self.keep_alive == self.http10:
            lines.append(b"Connection: keep-alive" if self.keep_alive else b"Connection: close")
        body, target = b"", b"/v1/things/" + self.nonce
        if method in ("chat", "stream"):
            fields: dict[str, Any] = {"model": "m", "nonce": self.nonce.decode(), "stream": method == "stream"}
            body = json.dumps(fields | ({"padding": "p" * LARGE_BODY} if large else {})).encode()
            target = b"/v1/chat/completions"
            lines.append(b"Content-Length: %d" % len(body))
        verb = b"POST" if body else method.encode()
        line = b"%b %b HTTP/1.%d" % (verb, target, 0 if self.http10 else 1)
        return b"\r\n".join([line, *lines, b"", body])


class Sending:
    """The answer that an instance is sending."""

    def __init__(self, attempt: Attempt, request: Request, recorded: Recorded) -> None:
        self.attempt = attempt
        self.request = request
        self.recorded = recorded
        self.sent = 0
        self.ended_in_order = False  # by FIN, which completes an answer without length, wherever it stands

    @property
    def completed(self) -> bool:
        return self.complete or self.ended_in_order and not self.unsent

    @property
    def unsent(self) -> bytes:
        return self.recorded.data[self.sent :]

    @property
    def refused(self) -> bool:
        """Whether the head of a 503 is out and its end is not: the router may try another instance at any moment."""
        return self.recorded.status == 503 and self.recorded.head_end <= self.sent and not self.complete

    @property
    def complete(self) -> bool:
        """Whether the answer is whole without an end of its connection."""
        return self.recorded.end is not None and self.sent >= self.recorded.end


def check_whole(request: Request, answer: Answer) -> None:
    """Hold an answer that seems whole against what instances sent to its request."""
    if not request.head_only and is_router_error(answer):
        late = time.monotonic() - request.started > TIMEOUT / 2
        assert late or request.harmed, f"an error without a cause, for {request.nonce!r}: {answer}"
        return
    if request.head_only and answer.status in ROUTER_ERRORS:
        return
    named = answer.header(b"x-nonce")
    assert named in (None, request.nonce), f"the answer to {request.nonce!r} is named {named!r}"
    events = answer.header(b"content-type") == b"text/event-stream"  # their last event ends them, too
    expected = [s.recorded for s in request.sendings if s.completed or events]
    if not any((r.status, r.body) == (answer.status, answer.body) for r in expected):
        _check_cut(request, answer)
    elif answer.body:
        assert NONCE.findall(answer.body) == [request.nonce], f"not one nonce: {answer.body!r}"


def _check_cut(request: Request, answer: Answer) -> None:
    """An answer that seems whole and is not ends with an error event, or has no length that shows the cut."""
    body = answer.body
    if answer.header(b"content-type") == b"text/event-stream":
        body, mark, error = body.partition(ERROR_EVENT)
        assert not mark or error.endswith(b"}\n\ndata: [DONE]\n\n"), f"not an error event: {answer}"
    sendings = [s for s in request.sendings if s.recorded.status == answer.status]
    marked = body != answer.body or answer.framing == "close" and request.http10
    assert any(s.recorded.body.startswith(body) and (marked or s.ended_in_order) for s in sendings), (
        f"not what an instance sent to {request.nonce!r}: {answer}"
    )


def check_part(request: Request, answer: Answer) -> None:
    """Hold the beginning of an answer against what instances began to send to its request."""
    body = answer.body.partition(ERROR_EVENT)[0]
    own = any(s.recorded.body.startswith(body) for s in request.sendings)
    assert own or body.startswith(ROUTER_ERROR[: len(body)]), (
        f"foreign bytes in the answer to {request.nonce!r}: {answer}"
    )


def is_router_error(answer: Answer) -> bool:
    if answer.status not in ROUTER_ERRORS or answer.header(b"content-type") != b"application/json":
        return False
    try:
        return "code" in json.loads(answer.body)["error"]
    except (ValueError, KeyError, TypeError):
        return False
