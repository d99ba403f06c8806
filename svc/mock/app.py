"""The mock as a WSGI application: what reaches it is counted, and may meet a misbehaviour first."""

import dataclasses
import hmac
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from svc.base.errors import SvcError, Unauthorized
from svc.mock import ask, exchange
from svc.mock.api import Api
from svc.mock.behaviour import Behaviour
from svc.mock.exchange import ClientLeft, Cut, Methods, Reply, Request, dispatch, json, refusal
from svc.mock.send import Start, send
from svc.mock.stats import PROBES, Stats

LOADING = {"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}}


class Mock:
    """`exit_later(seconds, code)` ends the process; None for seconds takes that back.

    `about` is told with the statistics. `clock` gives Unix seconds, `random` a number in [0, 1).
    """

    def __init__(
        self,
        api: Api,
        behaviour: Behaviour,
        clock: Callable[[], float],
        random: Callable[[], float],
        exit_later: Callable[[float | None, int], None],
        about: dict[str, Any],
        api_key: str = "",
    ) -> None:
        self.api = api
        self.clock = clock
        self.random = random
        self.exit_later = exit_later
        self.about = about
        self.api_key = api_key
        self.stats = Stats()
        self._turn = 0
        self._loaded_at = 0.0
        self.adopt(behaviour, "loading")

    def adopt(self, behaviour: Behaviour, *changes: str) -> None:
        """Behaves so from the next request on; the times of loading and exit begin anew if they are in `changes`."""
        self.behaviour = behaviour
        self.api.tokens = behaviour.tokens
        if "loading" in changes:
            self._loaded_at = self.clock() + behaviour.loading
        if "memory" in changes:
            self._ballast = b"\1" * (behaviour.memory << 20)  # touched, and so in memory
        if "exit_after" in changes:
            self.exit_later(behaviour.exit_after, behaviour.exit_code)

    def __call__(self, environ: dict[str, Any], start: Start) -> Iterator[bytes]:
        request = exchange.request(environ)
        if request.path.startswith("/mock/"):
            return self._controlled(request, environ, start)
        return self._counted(request, environ, start)

    def _controlled(self, request: Request, environ: dict[str, Any], start: Start) -> Iterator[bytes]:
        reply = _told(lambda request: dispatch(CONTROL, self, request), request, environ)
        yield from send(reply, self.api.name, Behaviour(), request.wire, start, _ignored, head_only=request.is_head)

    def _counted(self, request: Request, environ: dict[str, Any], start: Start) -> Iterator[bytes]:
        stats, streams = self.stats, 0
        stats.begin(request)
        try:
            reply = _told(lambda request: self._misbehave(request) or self._answer(request), request, environ)
            streams = int(reply.events is not None)
            stats.open_streams += streams
            yield from send(
                reply, self.api.name, self.behaviour, request.wire, start, stats.made, head_only=request.is_head
            )
            stats.finished += 1
        except Cut:
            stats.cut_by_mock += 1
            raise
        except (ClientLeft, GeneratorExit):  # the latter: a write failed, and the server gave the answer up
            stats.cut_by_client += 1
            raise
        finally:
            stats.end(request)
            stats.open_streams -= streams

    def _answer(self, request: Request) -> Reply:
        if self.api_key and request.path.startswith("/v1/"):
            self._check_key(request.headers.get("authorization", ""))
        return dispatch(OWN, self, request) if request.path in OWN else self.api.reply(request)

    def _check_key(self, authorization: str) -> None:
        """Raise Unauthorized for a caller without the key, as vLLM does under /v1."""
        if not hmac.compare_digest(authorization.encode(), f"Bearer {self.api_key}".encode()):
            raise Unauthorized("Unauthorized: this engine wants its API key", code="invalid_api_key")

    def _misbehave(self, request: Request) -> Reply | None:
        """What happens in an answer's place, if anything."""
        behaviour = self.behaviour
        if self.clock() < self._loaded_at:
            return json(LOADING, 503)
        if request.path in PROBES and not behaviour.everywhere:
            return None
        self._turn += 1
        if behaviour.hang:
            request.wire.pause(None)
        if behaviour.drop:
            request.wire.abort(behaviour.reset)
        if behaviour.fails(self._turn, self.random()):
            failure = SvcError(f"{self.api.name} was told to fail", code="mock_failure")
            return refusal(failure, request.path, behaviour.fail_status or 500)
        return None

    def report(self, request: Request) -> Reply:
        return json({"name": self.api.name, **self.about, **vars(self.stats)})

    def metrics(self, request: Request) -> Reply:
        return Reply(body=self.stats.exposition(), kind="text/plain; version=0.0.4; charset=utf-8")

    def told(self, request: Request) -> Reply:
        return json(msgspec.structs.asdict(self.behaviour))

    def behave(self, request: Request) -> Reply:
        changes = ask.parse(request.body, dict[str, Any])
        self.adopt(self.behaviour.changed(changes), *changes)
        return self.told(request)


OWN: dict[str, Methods[Mock]] = {"/metrics": {"GET": Mock.metrics}}
CONTROL: dict[str, Methods[Mock]] = {
    "/mock/stats": {"GET": Mock.report},
    "/mock/behave": {"GET": Mock.told, "POST": Mock.behave},
}


def _ignored(_tokens: int) -> None:
    """Of what is no answer of a model."""


def _told(answer: Callable[[Request], Reply], request: Request, environ: dict[str, Any]) -> Reply:
    """The answer, its body read first (a client that is still sending would not see one)."""
    try:
        return answer(dataclasses.replace(request, body=exchange.body(environ)))
    except SvcError as error:
        return refusal(error, request.path)
