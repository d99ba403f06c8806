"""A request's story: ask, pick, send, read, pass on, and one report at the end.

`forward` returns once the head of an answer is there. Up to three instances
are tried, only while nothing has been passed on, and only after a failure that
means the request was not processed: refused, no connection in time, closed
before the first byte, or the instance's own 503.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from svc.errors import BadGateway, GatewayTimeout, SvcError, Unavailable
from svc.router.ask import Ask, parse
from svc.router.dialect import error_event
from svc.router.events import EVENT_ENDS, whole
from svc.router.message import Request
from svc.router.names import renamed
from svc.router.outgoing import CREDENTIALS, outgoing, request_id
from svc.router.record import TAIL, Record
from svc.router.sock import shut
from svc.router.table import Target
from svc.router.upstream import Upstream, UpstreamError

if TYPE_CHECKING:
    from svc.router.admission import Place
    from svc.router.keys import Key
    from svc.router.state import State

log = logging.getLogger(__name__)

ATTEMPTS = 3
CLIENT_GONE = 499  # told in records only, as nginx does
FAULTS = (502, 503, 504)  # what an instance is to blame for; a plain 500 may be a client's doing
HELD_LIMIT = 1 << 20  # bytes of one event that are waited for before it is passed on in parts


class ClientGone(Exception):
    """Nobody is there to answer."""


class Cut(Exception):
    """The answer broke off after part of it was passed on; a client must see that it is not whole."""


class Exchange:
    """One relayed request, from the pick to the report; read it to the end, and always close it.

    `deadline` and `interrupt` are for whoever watches it from outside: the sweeper.
    """

    upstream: Upstream | None = None
    model: str | None = None
    cut = ""  # "client", "timeout" or "stopping"
    end = "done"
    status = attempts = 0
    events = False  # whether the answer is a stream of events
    closed = False
    key = ""  # its name
    _key: "Key | None" = None  # while the request counts for it
    _place: "Place | None" = None
    _target: Target | None = None  # who has the request now
    _started = _first = 0.0
    _bytes = 0
    _held = _opening = _before = _last = b""
    _retry = _failed = _faulty = False

    def __init__(self, state: "State", request: Request, client: str) -> None:
        self.state = state
        self.request = request
        self.client = client
        self.request_id = request_id(request) or state.request_id()
        self.started = state.clock()
        self.deadline = self._limit = state.now + state.settings.proxy_timeout
        self._idle = state.settings.idle_timeout

    # Asking.

    def open(self, client_address: bytes) -> None:
        """Gets an instance to answer; raises SvcError, or ClientGone."""
        state = self.state
        if state.keys is not None:
            self._show_key()
        ask = self._asked()
        tried: tuple[str, ...] = ()
        target = state.admit(ask, self._stay)
        while True:
            self.attempts += 1
            # Not raised yet: an exception that the frame it passes through still holds is a cycle, with the body in it.
            failure: Callable[[], SvcError] | None = None
            try:
                upstream = self._attempt(target, client_address)
            except UpstreamError as error:
                failure = self._failure(error, target)
                if error.processed:
                    raise failure() from None
            if failure is None and upstream.status != 503:
                break
            tried = (*tried, target.name)
            another = self._another(ask, tried)
            if another is None:
                if failure is not None:
                    raise failure()
                break  # the instance's own 503 says best what is wrong
            self._report()
            self._retry, target = True, another
        self.status = upstream.status
        if upstream.status not in FAULTS:
            state.answers(target)
        for name, value in upstream.headers:
            if len(name) == 12 and name.lower() == b"content-type":
                self.events = value.lower().startswith(b"text/event-stream") and self._legible(upstream)

    def _show_key(self) -> None:
        """Raises SvcError for a key that is missing, unknown or used up; it is ours, and goes no further."""
        keys, request = self.state.keys, self.request
        assert keys is not None
        key = keys.identify(request.header(b"authorization"), request.header(b"x-api-key"))
        self.key = key.name
        key.admit(self.state.now)
        self._key = key
        request.headers = [h for h in request.headers if h[0].lower() not in CREDENTIALS]  # they are ours

    def _asked(self) -> Ask:
        """What the request asks for; its body rewritten where an alias or a fallback stands for the model."""
        ask = parse(self.request)
        self.model = self.state.meant(ask.model)
        if self.model != ask.model:
            assert ask.model is not None
            assert self.model is not None
            self.request.body = renamed(ask.body, ask.model, self.model)
            ask = msgspec.structs.replace(ask, model=self.model, body=self.request.body)
        return ask

    def _stay(self, place: "Place") -> None:
        self._place = place
        if self.cut:
            raise self._cut_error()

    @staticmethod
    def _legible(upstream: Upstream) -> bool:
        """Whether an event can be added: neither the length is told, nor is the body compressed."""
        return upstream.length is None and all(name.lower() != b"content-encoding" for name, _ in upstream.headers)

    def _another(self, ask: Ask, tried: tuple[str, ...]) -> Target | None:
        if len(tried) >= ATTEMPTS or not self.state.may_retry():
            return None
        try:
            return self.state.pick(ask, tried)
        except Unavailable:
            return None

    def _attempt(self, target: Target, client_address: bytes) -> Upstream:
        state = self.state
        self._target = target
        self._started = state.clock()
        state.begin(target, self._retry)
        message = outgoing(self.request, target.authority, client_address, self.request_id)
        head_only = self.request.method == b"HEAD"
        deadline = state.now + state.settings.first_byte_timeout
        self.deadline = deadline if deadline < self._limit else self._limit
        upstream = state.connections.take(target, state.now)
        while True:
            fresh = upstream is None
            if upstream is None:
                upstream = state.connections.connect(target)
            self.upstream = upstream
            if self.cut:
                raise self._cut_error()
            upstream.ask(message, head_only)
            try:
                upstream.read_head()
                return upstream
            except UpstreamError:
                if self.cut or fresh or not upstream.untouched:
                    raise
            upstream.close()  # it had been closed while idle: that is nobody's failure
            self.upstream = upstream = None

    def _failure(self, error: UpstreamError, target: Target) -> Callable[[], SvcError]:
        """What makes the error to tell; raises it where the request was cut."""
        if self.cut:
            raise self._cut_error()
        self._failed = self._faulty = True
        log.warning("%s %s: %s", self.request_id.decode("latin-1"), target.name, error)
        kind = GatewayTimeout if error.timeout else BadGateway
        return partial(kind, f"cannot reach an instance: {target.name}: {error}")

    def _cut_error(self) -> Exception:
        if self.cut == "client":
            return ClientGone()
        if self.cut == "stopping":
            return Unavailable("the router is stopping; send the request again")
        self._failed = True
        settings = self.state.settings
        if self.state.now >= self._limit:
            return GatewayTimeout(f"no whole answer within {settings.proxy_timeout:g} s")
        self._faulty = True
        if not self._bytes:
            return GatewayTimeout(f"no answer within {settings.first_byte_timeout:g} s")
        return GatewayTimeout(f"the answer paused for {settings.idle_timeout:g} s")

    # Passing on.

    def read(self) -> bytes:
        """More of the answer's body, nothing at its end; of an event stream only whole events.

        A stream of events that breaks off ends with an error event, any other
        answer raises Cut.
        """
        upstream = self.upstream
        assert upstream is not None
        try:
            data = upstream.read()
            if self._held or (self.events and not data.endswith(EVENT_ENDS)):
                data = self._whole_events(upstream, data)
        except UpstreamError as error:
            return self._broken(upstream, error)
        if not self._first:
            self._first = self.state.clock()
            self._opening = data[:TAIL]
        deadline = self.state.now + self._idle
        self.deadline = deadline if deadline < self._limit else self._limit
        self._bytes += len(data)
        if data:
            self._before, self._last = self._last, data
        return data

    def _whole_events(self, upstream: Upstream, data: bytes) -> bytes:
        """Up to the end of the last event that is there; what follows is held until it is whole."""
        data, self._held = self._held + data, b""
        while not upstream.done and len(data) <= HELD_LIMIT:
            ready, self._held = whole(data)
            if ready:
                return ready
            self._held = b""
            data += upstream.read()
        return data

    def _broken(self, upstream: Upstream, error: UpstreamError) -> bytes:
        """The event that ends a stream; raises Cut where the answer is none, ClientGone where nobody reads it."""
        if self.cut == "client":
            raise ClientGone from None
        self._failed = True
        self._faulty = not self.cut
        told = self._cut_error() if self.cut else BadGateway(f"the instance's answer broke off: {error}")
        self.end = self.cut or "cut"
        log.warning("%s %s: %s", self.request_id.decode("latin-1"), upstream.target.name, told)
        if not self.events:
            raise Cut(str(told)) from None
        upstream.done, upstream.keep = True, False
        self._held = b""
        assert isinstance(told, SvcError)
        return error_event(told, self.request.target)

    def finished(self) -> bool:
        """Whether everything has been read."""
        return self.upstream is not None and self.upstream.done and not self._held

    def interrupt(self, reason: str) -> None:
        """Ends it from outside: whoever waits for the instance, or for a place at one, wakes."""
        self.cut = self.cut or reason
        if self._place is not None:
            self._place.wake()
        if self.upstream is not None:
            with suppress(OSError):
                shut(self.upstream.sock)

    # The end.

    def close(self) -> None:
        """However it came: the connection kept or closed, the counts released exactly once, the request recorded."""
        if self.closed:
            return
        self.closed = True
        instance = self._target.name if self._target else ""
        if self.end == "done" and (self.cut or not self.finished()):
            self.end = self.cut or "client"
        self._report()
        if self._key is not None:
            self._key.release()
        known = self.model is None or self.model in self.state.table.by_model
        self.state.recorder.ended(self._record(instance), self.events, self._tail(), known)

    def _report(self) -> None:
        upstream, self.upstream = self.upstream, None
        if upstream is not None:
            upstream.keep = upstream.keep and not self.cut  # what was cut is shut down
            self.state.connections.give(upstream, self.state.now)
        target, self._target = self._target, None
        if target is not None:
            status = upstream.status if upstream is not None else 0
            faulty = self._faulty or status in FAULTS or (None if self.cut and not status else False)
            seconds = self.state.clock() - self._started
            self.state.observe(target, seconds, self._failed or status >= 500, faulty, self._retry)
        self._failed = self._faulty = False

    def _tail(self) -> bytes:
        """Where a good answer says what it used: its end, and its beginning (Anthropic's streams say both)."""
        if self.status != 200:
            return b""
        end = (self._before + self._last)[-TAIL:]
        return end if self._bytes <= TAIL else self._opening + end

    def _record(self, instance: str) -> Record:
        request, started = self.request, self.started
        return Record(
            id=self.request_id.decode("latin-1"),
            client=self.client,
            key=self.key,
            method=request.method.decode("latin-1"),
            path=request.target.decode("latin-1"),
            model=self.model or "",
            instance=instance,
            status=CLIENT_GONE if self.end == "client" else self.status,
            bytes=self._bytes,
            first_byte=self._first - started if self._first else None,
            duration=self.state.clock() - started,
            attempts=self.attempts,
            end=self.end,
        )


def forward(exchange: Exchange, client_address: bytes) -> None:
    """Gets an instance to answer, and the head of its answer.

    Raises SvcError when none does, ClientGone when there is nobody to answer;
    nothing is left to close then.
    """
    try:
        exchange.open(client_address)
    except SvcError as error:
        exchange.status = error.status
        exchange.end = exchange.cut or ("failed" if exchange.attempts else "refused")
        exchange.close()
        raise
    except BaseException:
        exchange.close()
        raise
