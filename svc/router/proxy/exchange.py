"""One relayed request and its answer, from the first attempt to the one report at the end."""

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from svc.base.errors import BadGateway, GatewayTimeout, SvcError, Unavailable
from svc.router.balance.table import Target
from svc.router.http.error_dialect import error_event
from svc.router.http.request import COPIED_BYTES, Request
from svc.router.http.response_parser import ResponseHead
from svc.router.http.sockets import shut
from svc.router.http.sse import CHUNK_ENDS, EVENT_ENDS, OVERLAP_BYTES, last_end
from svc.router.http.upstream_error import UpstreamError
from svc.router.proxy.body_buffers import SMALL_BYTES, Allocation
from svc.router.proxy.upstream import UpstreamConnection
from svc.router.telemetry.access_log import TAIL, UNKNOWN, RequestRecord
from svc.router.telemetry.token_count import RECENT_EVENTS, TokenCounter, is_done, without_start_tokens

if TYPE_CHECKING:
    from svc.router.balance.request_queue import Waiter
    from svc.router.proxy.api_keys import ApiKey
    from svc.router.state import RouterState

log = logging.getLogger(__name__)

CLIENT_GONE = 499  # told in records only, as nginx does
FAULTS = (502, 503, 504)  # what an instance is to blame for; a plain 500 may be a client's doing
HELD_LIMIT = 1 << 20  # bytes of one event that are waited for before it is passed on in parts


class ClientGone(Exception):
    """Nobody is there to answer."""


class TruncatedResponse(Exception):
    """The answer broke off after part of it was passed on; a client must see that it is not whole."""


class Exchange:
    """One relayed request, from the pick to the report; read it to the end, and always close it.

    `deadline` and `interrupt` are for whoever watches it from outside: the sweeper.
    """

    upstream: UpstreamConnection | None = None
    head: ResponseHead | None = None  # of the answer that is passed on
    model: str | None = None
    cut = ""  # "client", "timeout" or "stopping"
    end = "done"
    status = attempts = 0
    events = False  # whether the answer is a stream of events
    is_tunnel = False  # whether both sides have changed to another protocol
    answered = False  # whether the answer, or a part of it, was sent to the client
    closed = False
    key = ""  # its name
    counted: "ApiKey | None" = None  # while the request counts for it
    authorized = False  # whether its head was checked, and was not refused
    allocation: Allocation | None = None  # of the memory for bodies, where its body is large
    _place: "Waiter | None" = None
    target: Target | None = None  # who has the request now
    instance = ""  # the name of the one that had it last
    _started = _first_byte = _first_token = 0.0
    _bytes = 0
    _tokens: TokenCounter | None = None  # of a stream, once something of it has come
    _produced = 0  # tokens that the metrics have already
    _ttft_observed = False
    _opening = _end = b""
    _held: bytes | bytearray = b""  # the beginning of an event
    counts_for_budget = False  # whether this attempt counts for the retry budget
    waited_for_registry = False  # to notice the death of its instances
    reset_by = ""  # the instance that reset a kept connection as the request came, so that it was sent again
    failed = False
    faulty = ""  # what the instance did wrong

    def __init__(self, state: "RouterState", request: Request, client: str) -> None:
        self.state = state
        self.request = request
        self.client = client
        self.request_id = request.head.id or state.request_id()
        self.started = state.clock()
        self.deadline = self.limit = state.now + state.settings.proxy_timeout
        self._idle = state.settings.idle_timeout

    def arrived(self, request: Request) -> None:
        """The whole request is there, after a body that took its time."""
        self.request = request
        self.started = self.state.clock()
        self.deadline = self.limit = self.state.now + self.state.settings.proxy_timeout
        if self.allocation is not None:
            self.allocation.shrink(len(request.body))

    def buffer(self, size: int, deadline: float, stay: Callable[["Waiter"], None]) -> None:
        """Count the memory of a body, as soon as there is room for it; raises as `Allocation.grow`."""
        if size > SMALL_BYTES:
            if self.allocation is None:
                self.allocation = Allocation(self.state.buffers)
            self.allocation.grow(size, deadline, stay)

    def drop_body(self) -> None:
        """Free the memory of a large body: once an answer has begun, it is not sent again.

        A smaller one stays until the end: freeing it here, in the midst of other work, costs more than it saves.
        """
        if self.allocation is not None and len(self.request.body) > COPIED_BYTES:
            self.request.body = b""
            self.allocation.shrink(0)

    def begin(self, target: Target) -> None:
        """An attempt at this instance; `report` is its end."""
        state = self.state
        self.target, self.instance = target, target.name
        self._started = state.clock()
        state.begin(target, self.attempts > 1, self.counts_for_budget, self.request.head.infers)
        deadline = state.now + state.settings.first_byte_timeout
        self.deadline = deadline if deadline < self.limit else self.limit

    def attempt_seconds(self) -> float:
        """Return the seconds since this attempt began."""
        return self.state.clock() - self._started

    def stay(self, place: "Waiter") -> None:
        """Waits in a line, at this place: whoever interrupts wakes it."""
        self._place = place
        self.deadline = self.limit
        if self.cut:
            raise self.cut_error()

    def cut_error(self) -> Exception:
        """Why it ended from outside, as whoever waits for it is to know."""
        if self.cut == "client":
            return ClientGone()
        if self.cut == "stopping":
            return Unavailable("the router is stopping; send the request again")
        self.failed = True
        settings = self.state.settings
        if self.state.now >= self.limit:
            return GatewayTimeout(f"no whole answer within {settings.proxy_timeout:g} s")
        reason = f"no answer within {settings.first_byte_timeout:g} s"
        if self._bytes:
            reason = f"the answer paused for {settings.idle_timeout:g} s"
        self.set_ejection_reason(reason)
        return GatewayTimeout(reason)

    def set_ejection_reason(self, reason: str, on_any_path: bool = False) -> None:
        """Note what the instance did wrong, where that counts for its ejection: on inference paths.

        Other paths can be made to fail by a client: llama.cpp answers `/slots?fail_on_no_slot=1` with 503.
        """
        self.faulty = reason if on_any_path or self.request.head.infers else ""

    # Passing on.

    def read(self) -> bytes:
        """More of the answer's body, nothing at its end; of an event stream only whole events.

        A stream of events that breaks off ends with an error event, any other
        answer raises Cut; so does one that is not as long as its head says.
        """
        upstream = self.upstream
        assert upstream is not None
        try:
            data = upstream.read()
            self._note_progress(len(data))
            if self.events:
                return self._read_events(upstream, data)
        except UpstreamError as error:
            return self._broken(upstream, error)
        if not self._opening:
            self._opening, self._end = data[:TAIL], data[-TAIL:]
        else:
            self._end = (self._end + data if len(data) < TAIL else data)[-TAIL:]
        length = upstream.length
        if length is not None and length != self._bytes and (upstream.done or self._bytes > length):
            self._cut_wrong_length(upstream, length)
        return data

    def _read_events(self, upstream: UpstreamConnection, data: bytes) -> bytes:
        """Return whole events, as far as they are there or come next."""
        if self._held or not data.endswith(EVENT_ENDS):
            data = self._whole_events(upstream, data)
        self._count_tokens(data)
        return data

    def count_tunnel_bytes(self, size: int, from_instance: bool) -> None:
        """Count tunnelled bytes and postpone the idle deadline; `proxy_timeout` does not apply to a tunnel."""
        self.deadline = self.state.now + self._idle
        if from_instance:
            self._first_byte = self._first_byte or self.state.clock()
            self._bytes += size

    def _note_progress(self, size: int) -> None:
        """Postpone the idle deadline: bytes that are held show as well that the instance is not idle."""
        self._first_byte = self._first_byte or self.state.clock()
        deadline = self.state.now + self._idle
        self.deadline = deadline if deadline < self.limit else self.limit
        self._bytes += size

    def _cut_wrong_length(self, upstream: UpstreamConnection, length: int) -> None:
        """The last guard: the parser and the recognition of heads let no such answer through."""
        upstream.persistent = False
        self.failed, self.end = True, "cut"
        request_id = self.request_id.decode("latin-1")
        reason = f"the answer has {self._bytes} bytes, its head says {length}"
        log.error("%s %s: %s", request_id, upstream.target.name, reason, extra={"request_id": request_id})
        raise TruncatedResponse(reason)

    def _count_tokens(self, data: bytes) -> None:
        """Count the tokens of a stream, and keep its beginning until the first one."""
        tokens = self._tokens
        if tokens is None:
            tokens = self._tokens = TokenCounter()
        tokens.add(data)
        if not self._first_token:
            self._opening = (self._opening + data)[:TAIL]
            self._first_token = self.state.clock() if tokens.count else 0.0

    def passes(self, data: bytes) -> bool:
        """Whether these bytes can be passed on as they came, unread: they are one whole chunk of whole events.

        True only where no other reading is possible: the chunk's size is written as we would write it.
        """
        size = len(data) - data.find(b"\r\n", 0, 10) - 4
        if size < 1 or not data.endswith(CHUNK_ENDS) or not data.startswith(b"%x\r\n" % size) or self._held:
            return False
        deadline = self.state.now + self._idle  # as _note_progress, without a call
        self.deadline = deadline if deadline < self.limit else self.limit
        self._bytes += size
        tokens = self._tokens
        if tokens is None or not tokens.count:  # an event is examined only until the first token has come
            self._first_byte = self._first_byte or self.state.clock()
            self._count_tokens(data[-size - 2 : -2])
            return True
        tokens.count += 1
        tokens.recent.append(data)
        return True

    def _whole_events(self, upstream: UpstreamConnection, data: bytes) -> bytes:
        """Return the body up to the end of its last whole event; what follows is held until it is whole as well."""
        held = self._held = bytearray(self._held)
        start = 0
        held += data
        while not upstream.done and len(held) <= HELD_LIMIT:
            if end := last_end(held, start):
                self._held = bytes(held[end:])
                return bytes(held[:end])
            start = max(0, len(held) - OVERLAP_BYTES)
            data = upstream.read()
            self._note_progress(len(data))
            held += data
        self._held = b""
        return bytes(held)

    def _broken(self, upstream: UpstreamConnection, error: UpstreamError) -> bytes:
        """The event that ends a stream; raises Cut where the answer is none, ClientGone where nobody reads it."""
        if self.cut == "client":
            raise ClientGone from None
        if not self.cut and self._has_last_event():
            return self._take_rest(upstream)
        self.failed = True
        self.set_ejection_reason("" if self.cut else str(error) or "it failed")
        told = self.cut_error() if self.cut else BadGateway(f"the instance's answer broke off: {error}")
        self.end = self.cut or "cut"
        request_id = self.request_id.decode("latin-1")
        log.warning("%s %s: %s", request_id, upstream.target.name, told, extra={"request_id": request_id})
        if not self.events:
            raise TruncatedResponse(str(told)) from None
        upstream.done, upstream.persistent = True, False
        self._held = b""
        assert isinstance(told, SvcError)
        unended = self._tokens is not None and self._tokens.unended  # a long event, of which a part was passed on
        return (b"\n\n" if unended else b"") + error_event(told, self.request.head.target)

    def _has_last_event(self) -> bool:
        """Return whether the last event of the stream has come: a connection that ends after it is no failure."""
        return is_done(self._held) or (self._tokens is not None and self._tokens.complete())

    def _take_rest(self, upstream: UpstreamConnection) -> bytes:
        """Return what is left of a stream whose last event came before the connection broke off."""
        upstream.done, upstream.persistent = True, False
        data, self._held = bytes(self._held), b""
        self._count_tokens(data)
        if not data or data.endswith(EVENT_ENDS):
            return data
        return data + (b"\n" if data.endswith(b"\n") else b"\n\n")  # clients drop an event without its empty line

    def finished(self) -> bool:
        """Whether everything has been read."""
        return self.upstream is not None and self.upstream.done and not self._held

    def interrupt(self, reason: str) -> None:
        """Ends it from outside: whoever waits for the instance, or for a place at one, wakes."""
        self.cut = self.cut or reason
        if self._place is not None:
            self._place.wake()
        if self.upstream is not None:
            self.upstream.aborted = True
            with suppress(OSError):
                shut(self.upstream.sock)

    def log_unexpected_error(self) -> SvcError:
        """Log the exception that is being handled; return the error for the client."""
        self.end = "failed"
        request_id = self.request_id.decode("latin-1")
        log.exception("%s: the router failed", request_id, extra={"request_id": request_id})
        return SvcError(f"the router failed; its log has the reason under {request_id}")

    # The end.

    def close(self) -> None:
        """However it came: the connection kept or closed, the counts released exactly once, the request recorded."""
        if self.closed:
            return
        self.closed = True
        if self.end == "done" and (self.cut or not self.finished()):
            self.end = self.cut or "client"
        now = self.state.clock()
        self.report(now)
        if self.counted is not None:
            self.counted.release()
        if self.allocation is not None:
            self.allocation.shrink(0)
        record, label = self._record(now), self._label()
        waited = self._first_token - self.started if self._first_token else None
        self.state.recorder.ended(record, waited, self._tail(), label)
        tokens = record.completion_tokens
        if self.events:
            self._count(self.instance, label, tokens or (0 if self._tokens is None else self._tokens.total()))
        elif tokens:
            self.state.produced(self.instance, label, tokens)

    def flow(self) -> None:
        """Counts what a stream has given so far. Called once a second: one that takes minutes shows while it runs."""
        if self._tokens is not None and self.target is not None:
            self._count(self.target.name, self._label(), self._tokens.count - RECENT_EVENTS)

    def _count(self, instance: str, label: str, tokens: int) -> None:
        """Of a stream: those that are new, of so many in all; and the wait for the first one, once."""
        first = None
        if self._first_token and not self._ttft_observed:
            self._ttft_observed, first = True, self._first_token - self.started
        more = max(0, tokens - self._produced)
        if more or first is not None:
            self._produced += more
            self.state.produced(instance, label, more, first)

    def _label(self) -> str:
        """The model, as metrics name it: what clients may invent is no label."""
        known = self.model is None or self.model in self.state.table.models
        return (self.model or "") if known else UNKNOWN

    def report(self, now: float | None = None) -> None:
        """The end of an attempt: of the last one, or of one that another follows; `now`: the state's clock."""
        upstream, self.upstream = self.upstream, None
        if upstream is not None:
            upstream.persistent = upstream.persistent and not self.cut  # what was cut is shut down
            self.state.upstream_pool.give(upstream, self.state.now)
        target, self.target = self.target, None
        if target is not None:
            status = upstream.head.status if upstream is not None and upstream.head is not None else 0
            infers = self.request.head.infers
            faulty: str | None = ""
            if not infers or status >= 500 or self.failed or self.cut:
                faulty = self._ejection_reason(status)
            seconds = (self.state.clock() if now is None else now) - self._started
            failed = self.failed or status >= 500
            answered = not failed and upstream is not None and upstream.done and 200 <= status < 300
            worked = answered and self.request.head.method == b"POST"  # what is only read up takes no engine
            self.state.observe(target, seconds, failed, faulty, self.counts_for_budget, worked, infers)
        self.failed, self.faulty = False, ""

    def _ejection_reason(self, status: int) -> str | None:
        """Return what the instance did wrong, empty where it did well, None where the attempt says neither."""
        if self.faulty or self.failed:
            return self.faulty or None
        if not self.request.head.infers or (self.cut and not status):
            return None
        return f"it answered {status}" if status in FAULTS else ""

    def _tail(self) -> bytes:
        """Where a good answer says what it used: its end, and its beginning (Anthropic's streams say both)."""
        if self.status != 200:
            return b""
        if self._tokens is not None:
            return without_start_tokens(self._opening + b"\n".join(self._tokens.recent)[-TAIL:])
        return self._end if self._bytes <= TAIL else self._opening + self._end

    def _record(self, now: float) -> RequestRecord:
        head, started = self.request.head, self.started
        return RequestRecord(
            id=self.request_id.decode("latin-1"),
            client=self.client,
            key=self.key,
            method=head.verb,
            path=head.path,
            model=self.model or "",
            instance=self.instance,
            status=CLIENT_GONE if self.end == "client" else self.status,
            bytes=self._bytes,
            first_byte=self._first_byte - started if self._first_byte else None,
            duration=now - started,
            attempts=self.attempts,
            end=self.end,
        )
