"""The mock as a WSGI application, which counts each request, and answers or misbehaves."""

import dataclasses
import hmac
from collections.abc import Callable, Iterable, Iterator
from http.client import responses
from typing import Any

import msgspec

from svc.base.errors import SvcError, Unauthorized
from svc.mock import request_bodies
from svc.mock.backend_api import BackendApi
from svc.mock.behaviour import Behaviour
from svc.mock.mock_statistics import PROBE_PATHS, MockStatistics, is_probe
from svc.mock.request_reply import (
    ClientLeft,
    Connection,
    CutByMock,
    Methods,
    MockRequest,
    Reply,
    dispatch,
    error_reply,
    json_reply,
    read_body,
    read_head,
)
from svc.mock.sleep_mode import SLEEP_ROUTES, MockSleepMode

LOADING_BODY = {"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}}

# The types of WSGI's start_response and of the `write` that it returns. write(b"") sends the head; yield b"" does not.
Write = Callable[[bytes], Any]
StartResponse = Callable[[str, list[tuple[str, str]]], Write]
CountTokens = Callable[[int], None]


class MockApplication:
    """The WSGI application of one mock.

    `exit_later(seconds, code)` ends the process after that time; if seconds is None, it cancels the exit. `about` is
    returned together with the statistics. `clock` returns Unix seconds, and `random` a number in [0, 1).
    """

    def __init__(
        self,
        api: BackendApi,
        behaviour: Behaviour,
        clock: Callable[[], float],
        random: Callable[[], float],
        exit_later: Callable[[float | None, int], None],
        about: dict[str, Any],
        sleep: MockSleepMode,
        api_key: str = "",
    ) -> None:
        self.api = api
        self.clock = clock
        self.random = random
        self.exit_later = exit_later
        self.about = about
        self.sleep = sleep
        self.api_key = api_key
        self.statistics = MockStatistics()
        self._requests = 0  # number of requests to which Behaviour.fails applies
        self._loaded_at = 0.0
        self.adopt(behaviour, "loading")

    def adopt(self, behaviour: Behaviour, *changes: str) -> None:
        """Use this behaviour from the next request on.

        `changes` are the fields that were set, even if to the same value: the effect of `loading`, `memory` and
        `exit_after` begins anew when the field is set.
        """
        self.behaviour = behaviour
        self.api.tokens = behaviour.tokens
        self.api.final_message = behaviour.final_message
        if "loading" in changes:
            self._loaded_at = self.clock() + behaviour.loading
        if "memory" in changes:
            self._ballast = b"\1" * (behaviour.memory << 20)  # filled with ones, so that the kernel allocates it
        if "exit_after" in changes:
            self.exit_later(behaviour.exit_after, behaviour.exit_code)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterator[bytes]:
        request = read_head(environ)
        if request.path.startswith("/mock/"):
            return self._handle_control(request, environ, start_response)
        return self._handle_counted(request, environ, start_response)

    def _handle_control(
        self, request: MockRequest, environ: dict[str, Any], start_response: StartResponse
    ) -> Iterator[bytes]:
        reply = _read_and_reply(lambda request: dispatch(CONTROL_ROUTES, self, request), request, environ)
        yield from self._send(request, reply, Behaviour(), start_response, _ignore_tokens)

    def _handle_counted(
        self, request: MockRequest, environ: dict[str, Any], start_response: StartResponse
    ) -> Iterator[bytes]:
        statistics, streams = self.statistics, 0
        statistics.begin(request)
        try:
            reply = _read_and_reply(lambda request: self._misbehave(request) or self._reply(request), request, environ)
            streams = int(reply.events is not None)
            statistics.open_streams += streams
            count_tokens = _ignore_tokens if is_probe(request) else statistics.count_tokens
            parts = self._send(request, reply, self.behaviour, start_response, count_tokens)
            yield from parts if is_probe(request) else self._until_sleep(parts, request)
            statistics.finished += 1
        except CutByMock:
            statistics.cut_by_mock += 1
            raise
        except (ClientLeft, GeneratorExit):  # GeneratorExit: a write failed, so the server closed this generator
            statistics.cut_by_client += 1
            raise
        finally:
            statistics.end(request)
            statistics.open_streams -= streams

    def _send(
        self,
        request: MockRequest,
        reply: Reply,
        behaviour: Behaviour,
        start_response: StartResponse,
        count_tokens: CountTokens,
    ) -> Iterator[bytes]:
        return send_reply(
            reply,
            self.api.name,
            behaviour,
            request.connection,
            start_response,
            count_tokens,
            head_only=request.is_head,
        )

    def _until_sleep(self, parts: Iterator[bytes], request: MockRequest) -> Iterator[bytes]:
        """Yield the parts of a reply, and close the connection when the engine goes to sleep meanwhile."""
        sleeps = self.sleep.sleeps
        for part in parts:
            if self.sleep.sleeps != sleeps:
                request.connection.abort(self.behaviour.reset)
            yield part

    def _reply(self, request: MockRequest) -> Reply:
        if request.path in SLEEP_ROUTES:
            return dispatch(SLEEP_ROUTES, self.sleep, request)
        if request.path not in PROBE_PATHS:
            self.sleep.refuse_request()
        if self.api_key and request.path.startswith("/v1/"):
            self._check_key(request.headers.get("authorization", ""))
        return dispatch(METRICS_ROUTES, self, request) if request.path in METRICS_ROUTES else self.api.reply(request)

    def _check_key(self, authorization: str) -> None:
        """Raise Unauthorized if the client does not send the API key, as vLLM does for paths under /v1."""
        if not hmac.compare_digest(authorization.encode(), f"Bearer {self.api_key}".encode()):
            raise Unauthorized("Unauthorized: this engine wants its API key", code="invalid_api_key")

    def _misbehave(self, request: MockRequest) -> Reply | None:
        """Hang, drop the connection or return an error reply, as `behaviour` requires; None means a normal answer."""
        behaviour = self.behaviour
        if self.clock() < self._loaded_at:
            return json_reply(LOADING_BODY, 503)
        if is_probe(request) and not behaviour.everywhere:
            return None
        self._requests += 1
        if behaviour.hang:
            request.connection.pause(None)
        if behaviour.drop:
            request.connection.abort(behaviour.reset)
        if behaviour.fails(self._requests, self.random()):
            failure = SvcError(f"{self.api.name} was told to fail", code="mock_failure")
            return error_reply(failure, request.path, behaviour.fail_status or 500)
        return None

    def report_statistics(self, request: MockRequest) -> Reply:
        return json_reply({"name": self.api.name, **self.about, **vars(self.statistics)})

    def metrics(self, request: MockRequest) -> Reply:
        return Reply(body=self.statistics.exposition(), content_type="text/plain; version=0.0.4; charset=utf-8")

    def report_behaviour(self, request: MockRequest) -> Reply:
        return json_reply(msgspec.structs.asdict(self.behaviour))

    def change_behaviour(self, request: MockRequest) -> Reply:
        changes = request_bodies.parse(request.body, dict[str, Any])
        self.adopt(self.behaviour.changed(changes), *changes)
        return self.report_behaviour(request)


METRICS_ROUTES: dict[str, Methods[MockApplication]] = {"/metrics": {"GET": MockApplication.metrics}}
CONTROL_ROUTES: dict[str, Methods[MockApplication]] = {
    "/mock/stats": {"GET": MockApplication.report_statistics},
    "/mock/behave": {"GET": MockApplication.report_behaviour, "POST": MockApplication.change_behaviour},
}


def _ignore_tokens(_tokens: int) -> None:
    """Count nothing: replies under /mock/ generate no tokens, and those of a probe are not a client's."""


def _read_and_reply(handle: Callable[[MockRequest], Reply], request: MockRequest, environ: dict[str, Any]) -> Reply:
    """Read the request's body, then return the reply: a client does not read a reply while it sends its body."""
    try:
        return handle(dataclasses.replace(request, body=read_body(environ)))
    except SvcError as error:
        return error_reply(error, request.path)


def send_reply(
    reply: Reply,
    name: str,
    behaviour: Behaviour,
    connection: Connection,
    start_response: StartResponse,
    count_tokens: CountTokens,
    *,
    head_only: bool = False,
) -> Iterator[bytes]:
    """Yield the parts of a reply, without its body if `head_only` is set.

    If `behaviour` requires it, delay the reply, hang in the middle, or cut it off.
    """
    status = f"{reply.status} {responses.get(reply.status, 'Unknown')}"
    name_header = ("x-mock-name", name.encode().decode("latin-1"))
    if reply.events is not None:
        headers = [name_header, ("Content-Type", "text/event-stream"), ("Cache-Control", "no-cache")]
        write = start_response(status, headers)
        yield from _send_events(reply.events, behaviour, connection, write, count_tokens)
        return
    if reply.tokens:
        connection.pause(behaviour.first_token_delay + behaviour.token_delay * (reply.tokens - 1))
        count_tokens(reply.tokens)
    headers = [name_header, ("Content-Type", reply.content_type), ("Content-Length", str(len(reply.body)))]
    write = start_response(status, headers)
    if reply.tokens and behaviour.cut_bytes is not None:
        write(reply.body[: behaviour.cut_bytes])
        connection.abort(behaviour.reset)
    if not head_only:
        yield reply.body


def _send_events(
    events: Iterable[tuple[bool, bytes]],
    behaviour: Behaviour,
    connection: Connection,
    write: Write,
    count_tokens: CountTokens,
) -> Iterator[bytes]:
    delay = behaviour.first_token_delay
    for sent, (has_token, event) in enumerate(events):
        if sent == behaviour.hang_after:
            connection.pause(None)
        if has_token:
            connection.pause(delay)
            delay = behaviour.token_delay
            count_tokens(1)
        if behaviour.cut_bytes is not None and sent == (behaviour.cut_after or 0):
            write(event[: behaviour.cut_bytes])
            connection.abort(behaviour.reset)
        if sent == behaviour.cut_after:
            connection.abort(behaviour.reset)
        yield event
