"""One relayed request and its answer, from the first attempt to the one report at the end."""

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from svc.errors import BadGateway, GatewayTimeout, SvcError, Unavailable
from svc.router.answer import BODILESS, AnswerHead, UpstreamError
from svc.router.dialect import error_event
from svc.router.events import CHUNK_ENDS, EVENT_ENDS, whole
from svc.router.record import TAIL, UNKNOWN, Record
from svc.router.request import Request
from svc.router.sock import shut
from svc.router.table import Target
from svc.router.upstream import Upstream

if TYPE_CHECKING:
    from svc.router.admission import Place
    from svc.router.keys import Key
    from svc.router.state import State

log = logging.getLogger(__name__)

CLIENT_GONE = 499  # told in records only, as nginx does
FAULTS = (502, 503, 504)  # what an instance is to blame for; a plain 500 may be a client's doing
HELD_LIMIT = 1 << 20  # bytes of one event that are waited for before it is passed on in parts
ASIDE = 2  # parts of a stream that are no tokens: the first says who speaks, the last that it is over
UNSURE = 5  # parts that may be none, of a stream that goes on: those, and what it used


class ClientGone(Exception):
    """Nobody is there to answer."""


class Cut(Exception):
    """The answer broke off after part of it was passed on; a client must see that it is not whole."""


class Exchange:
    """One relayed request, from the pick to the report; read it to the end, and always close it.

    `deadline` and `interrupt` are for whoever watches it from outside: the sweeper.
    """

    upstream: Upstream | None = None
    head: AnswerHead | None = None  # of the answer that is passed on
    model: str | None = None
    cut = ""  # "client", "timeout" or "stopping"
    end = "done"
    status = attempts = 0
    events = False  # whether the answer is a stream of events
    tunnelling = False  # whether both sides have changed to another protocol
    closed = False
    key = ""  # its name
    counted: "Key | None" = None  # while the request counts for it
    _place: "Place | None" = None
    target: Target | None = None  # who has the request now
    instance = ""  # the name of the one that had it last
    _started = _first = 0.0
    _bytes = 0
    _parts = 0  # of the body, as they came: of a stream that tells no usage, its tokens are not many more
    _tokens = 0  # that are counted already
    _begun = False  # whether its first token is
    _held = _opening = _before = _last = b""
    budgeted = False  # whether this attempt counts for the retry budget
    awaited = False  # whether it has waited for the registry to notice a death
    failed = False
    faulty = ""  # what the instance did wrong

    def __init__(self, state: "State", request: Request, client: str) -> None:
        self.state = state
        self.request = request
        self.client = client
        self.request_id = request.head.id or state.request_id()
        self.started = state.clock()
        self.deadline = self.limit = state.now + state.settings.proxy_timeout
        self._idle = state.settings.idle_timeout

    def begin(self, target: Target) -> None:
        """An attempt at this instance; `report` is its end."""
        state = self.state
        self.target, self.instance = target, target.name
        self._started = state.clock()
        state.begin(target, self.attempts > 1, self.budgeted)
        deadline = state.now + state.settings.first_byte_timeout
        self.deadline = deadline if deadline < self.limit else self.limit

    def stay(self, place: "Place") -> None:
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
        self.faulty = f"no answer within {settings.first_byte_timeout:g} s"
        if self._bytes:
            self.faulty = f"the answer paused for {settings.idle_timeout:g} s"
        return GatewayTimeout(self.faulty)

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
            if self._held or (self.events and not data.endswith(EVENT_ENDS)):
                data = self._whole_events(upstream, data)
        except UpstreamError as error:
            return self._broken(upstream, error)
        self._note(data, len(data))
        length = upstream.length
        if length is not None and (self._bytes > length or (self._bytes < length and upstream.done)):
            upstream.must_close = True
            self.end = "cut"
            raise Cut(f"the instance's answer has {self._bytes} bytes, its head says {length}")
        return data

    def passed(self, size: int, answer: bool) -> None:
        """Counts bytes of a tunnel: it may last as long as it likes, while it is not idle."""
        self.deadline = self.state.now + self._idle
        if answer:
            self._bytes += size

    def bodiless(self) -> bool:
        """Whether the answer ends with its head, whatever lengths that names (RFC 9112, 6.3)."""
        assert self.head is not None
        return self.head.status in BODILESS or self.request.head.method == b"HEAD"

    def _note(self, data: bytes, size: int) -> None:
        if not self._first:
            self._first = self.state.clock()
            self._opening = data[:TAIL]
        deadline = self.state.now + self._idle
        self.deadline = deadline if deadline < self.limit else self.limit
        self._bytes += size
        self._parts += 1
        if size:
            self._before, self._last = self._last, data

    def passes(self, data: bytes) -> bool:
        """Whether these bytes can be passed on as they came, unread: they are one whole chunk of whole events.

        True only where no other reading is possible: the chunk's size is written as we would write it.
        """
        size = len(data) - data.find(b"\r\n", 0, 10) - 4
        if size < 1 or not data.endswith(CHUNK_ENDS) or not data.startswith(b"%x\r\n" % size) or self._held:
            return False
        if not self._bytes:
            self._note(data, size)
            return True
        deadline = self.state.now + self._idle  # as _note, without a call
        self.deadline = deadline if deadline < self.limit else self.limit
        self._bytes += size
        self._parts += 1
        self._before, self._last = self._last, data
        return True

    def _whole_events(self, upstream: Upstream, data: bytes) -> bytes:
        """Up to the end of the last event that is there; what follows is held until it is whole."""
        self._held += data
        while not upstream.done and len(self._held) <= HELD_LIMIT:
            ready, rest = whole(self._held)
            if ready:
                self._held = rest
                return ready
            self._held += upstream.read()
        data, self._held = self._held, b""
        return data

    def _broken(self, upstream: Upstream, error: UpstreamError) -> bytes:
        """The event that ends a stream; raises Cut where the answer is none, ClientGone where nobody reads it."""
        if self.cut == "client":
            raise ClientGone from None
        self.failed = True
        self.faulty = "" if self.cut else str(error) or "it failed"
        told = self.cut_error() if self.cut else BadGateway(f"the instance's answer broke off: {error}")
        self.end = self.cut or "cut"
        request_id = self.request_id.decode("latin-1")
        log.warning("%s %s: %s", request_id, upstream.target.name, told, extra={"request_id": request_id})
        if not self.events:
            raise Cut(str(told)) from None
        upstream.done = upstream.must_close = True
        self._held = b""
        assert isinstance(told, SvcError)
        return error_event(told, self.request.head.target)

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

    def fail(self) -> SvcError:
        """Logs an exception that is being handled and was not foreseen; returns the error for the client."""
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
        self.report()
        if self.counted is not None:
            self.counted.release()
        record, label = self._record(self.instance), self._label()
        self.state.recorder.ended(record, self.events, self._tail(), label)
        tokens = record.completion_tokens
        if self.events:
            self._count(self.instance, label, tokens or self._parts - ASIDE)
        elif tokens:
            self.state.produced(self.instance, label, tokens)

    def flow(self) -> None:
        """Counts what a stream has given so far. Called once a second: one that takes minutes shows while it runs."""
        if self.events and self.target is not None:
            self._count(self.target.name, self._label(), self._parts - UNSURE)

    def _count(self, instance: str, label: str, tokens: int) -> None:
        """Of a stream: those that are new, of so many in all; and the wait for the first one, once."""
        first = None
        if self._first and not self._begun:
            self._begun, first = True, self._first - self.started
        more = max(0, tokens - self._tokens)
        if more or first is not None:
            self._tokens += more
            self.state.produced(instance, label, more, first)

    def _label(self) -> str:
        """The model, as metrics name it: what clients may invent is no label."""
        known = self.model is None or self.model in self.state.table.models
        return (self.model or "") if known else UNKNOWN

    def report(self) -> None:
        """The end of an attempt: of the last one, or of one that another follows."""
        upstream, self.upstream = self.upstream, None
        if upstream is not None:
            upstream.must_close = upstream.must_close or bool(self.cut)  # what was cut is shut down
            self.state.connections.give(upstream, self.state.now)
        target, self.target = self.target, None
        if target is not None:
            status = upstream.head.status if upstream is not None and upstream.head is not None else 0
            infers = self.request.head.infers
            faulty = self.faulty or (None if not infers or (self.cut and not status) else "")
            if status in FAULTS and infers and not faulty:
                faulty = f"it answered {status}"
            seconds = self.state.clock() - self._started
            failed = self.failed or status >= 500
            answered = not failed and upstream is not None and upstream.done and 200 <= status < 300
            worked = answered and self.request.head.method == b"POST"  # what is only read up takes no engine
            self.state.observe(target, seconds, failed, faulty, self.budgeted, worked)
        self.failed, self.faulty = False, ""

    def _tail(self) -> bytes:
        """Where a good answer says what it used: its end, and its beginning (Anthropic's streams say both)."""
        if self.status != 200:
            return b""
        end = (self._before + self._last if self._before else self._last)[-TAIL:]
        return end if self._bytes <= TAIL else self._opening + end

    def _record(self, instance: str) -> Record:
        head, started = self.request.head, self.started
        return Record(
            id=self.request_id.decode("latin-1"),
            client=self.client,
            key=self.key,
            method=head.verb,
            path=head.path,
            model=self.model or "",
            instance=instance,
            status=CLIENT_GONE if self.end == "client" else self.status,
            bytes=self._bytes,
            first_byte=self._first - started if self._first else None,
            duration=self.state.clock() - started,
            attempts=self.attempts,
            end=self.end,
        )
