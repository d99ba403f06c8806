"""One relayed request and its response: the attempts at instances, the relayed body, and one record at the end."""

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from svc.base.errors import GatewayTimeout, SvcError, Unavailable
from svc.router.balance.target import Target
from svc.router.http.request import Request
from svc.router.http.response_parser import ResponseHead
from svc.router.http.sockets import shut
from svc.router.http.sse import CHUNK_ENDS, EVENT_ENDS
from svc.router.http.upstream_error import UpstreamError
from svc.router.proxy.attempt import Attempt
from svc.router.proxy.body_buffers import LARGE_BYTES, SMALL_BYTES, Allocation
from svc.router.proxy.broken_response import end_broken, wrong_length
from svc.router.proxy.exchange_report import report_end
from svc.router.proxy.response_breaks import HANDOVER, ClientGone
from svc.router.proxy.response_stream import ResponseStream
from svc.router.proxy.upstream import UpstreamConnection
from svc.router.proxy.used_tokens import prompt_tokens, usage_part
from svc.router.telemetry.statistics import USAGE_TAIL_BYTES

if TYPE_CHECKING:
    from svc.router.balance.account import Account
    from svc.router.balance.continuing_instances import FreePlaces
    from svc.router.balance.fair_order import Charge
    from svc.router.balance.request_queue import Waiter
    from svc.router.balance.work import AttemptWork
    from svc.router.proxy.api_keys import ApiKey
    from svc.router.proxy.key_limits import KeyLimits
    from svc.router.proxy.resumption import Resumption
    from svc.router.proxy.retry import FailedAttempt
    from svc.router.proxy.stored_objects import ObjectIdReader
    from svc.router.proxy.waiting_stream import WaitingStream
    from svc.router.state import RouterState


class Exchange:
    """One relayed request. The caller reads the response's body to the end, and always closes the exchange.

    `deadline` and `interrupt` are for the worker's sweep, which runs in another greenlet.
    """

    upstream: UpstreamConnection | None = None  # the connection of the attempt in progress
    attempt: Attempt | None = None  # the attempt in progress
    work: "AttemptWork | None" = None  # the expected work of the last attempt, if a policy uses it
    stream: ResponseStream | None = None  # set if the response is an event stream
    head: ResponseHead | None = None  # the head of the response that is passed on
    model: str | None = None
    instance = ""  # the name of the instance of the last attempt
    resumption: "Resumption | None" = None  # continues an event stream at another instance; None for any other response
    failures: "tuple[FailedAttempt, ...]" = ()  # the failed attempts at instances so far
    interruption = ""  # why the exchange was interrupted: "client", "timeout", "stopping" or HANDOVER
    end = "done"  # how the exchange ended, for the access log
    hides_usage = False  # whether the router, not the client, has requested the usage of the stream
    is_tunnel = False  # whether both sides have changed to another protocol
    answered = False  # whether a part of the response was sent to the client
    ended = False  # whether the router, not the instance, has ended the response
    closed = False
    authorized = False  # whether the request's head was checked, and not refused
    key_name = ""  # the name of the client's API key
    account: "Account | None" = None  # the account that the request counts for; None if it counts for none
    limits: "KeyLimits | None" = None  # the limits that the request counts for
    restricted_key: "ApiKey | None" = None  # the client's API key, if that may use only some models
    hides_model = False  # whether the model does not exist for that key
    charge: "Charge | None" = None  # what the account is charged with; None as long as no request waits
    allocation: Allocation | None = None  # the memory for the request's body, if that is large
    waited_for_registry = False  # whether the request has waited for the registry to notice that its instances died
    ended_by = ""  # the instance that ended a kept connection, so that the request was sent again
    instances: tuple[str, ...] = ()  # the names of those that have served the response, if there were several
    id_reader: "ObjectIdReader | None" = None  # set if the response may contain the id of a new object
    waiter: "Waiter | None" = None  # the waiter of the request's present or last wait
    waiting_stream: "WaitingStream | None" = None  # set when the request has waited long for a wake
    first_byte_at = 0.0
    waiting_since = 0.0  # when the request began to wait; 0: it does not wait
    queue_seconds = 0.0  # duration of its waits that are over
    prompt_estimate: int | None = None  # the estimated tokens of the prompt, once they are known

    def __init__(self, state: "RouterState", request: Request, client: str) -> None:
        self.state = state
        self.request = request
        self.client = client
        self.status = self.attempts = self.body_bytes = 0
        self.request_id = request.head.id or state.request_id()
        self.started = state.clock()
        # The request must end before `limit`, and its present stage before `deadline`.
        self.deadline = self.limit = state.now + state.settings.proxy_timeout
        self._idle_timeout = state.settings.idle_timeout
        # Of a response that is no event stream: its first bytes, its last bytes, and those from its last `usage` on.
        self.body_start = self.body_end = self.body_usage = b""

    # Before the response.

    def body_arrived(self, request: Request) -> None:
        """Continue with the whole request, now that its body has arrived. Duration and timeout count from here."""
        self.request = request
        self.started = self.state.clock()
        self.deadline = self.limit = self.state.now + self.state.settings.proxy_timeout
        if self.allocation is not None:
            self.allocation.shrink(len(request.body))

    def allocate(self, size: int, deadline: float, on_wait: Callable[["Waiter"], None]) -> None:
        """Allocate memory for a body of `size` bytes, after a wait if none is free; raise as `Allocation.grow` does."""
        if size > SMALL_BYTES:
            if self.allocation is None:
                self.allocation = Allocation(self.state.buffers)
            self.allocation.grow(size, deadline, on_wait)

    def drop_body(self) -> None:
        """Free the memory of a large body: once a response has begun, the request is not sent again.

        A smaller body stays until the end: freeing it here, in the midst of other work, costs more than it saves.
        """
        if self.allocation is not None and len(self.request.body) > LARGE_BYTES:
            prompt_tokens(self)
            self.request.body = b""
            self.allocation.shrink(0)

    def on_wait(self, waiter: "Waiter") -> None:
        """Store the request's waiter, so that `interrupt` can wake it; raise if the exchange was interrupted."""
        self.waiting_since = self.waiting_since or self.state.clock()
        self.waiter = waiter
        self.charge, self.deadline = waiter.charge or self.charge, self.limit
        if self.interruption:
            raise self.interruption_error()
        if self.waiting_stream is not None:
            self.waiting_stream.keep_alive(self)

    def begin_attempt(self, target: Target, counts_for_budget: bool = False) -> None:
        """Begin an attempt at an instance. `end_attempt` ends it."""
        state, now = self.state, self.state.clock()
        if self.waiting_since:
            self.queue_seconds, self.waiting_since = self.queue_seconds + now - self.waiting_since, 0.0
        self.instance = target.name
        self.attempt = Attempt(target, now, counts_for_budget)
        state.balancer.begin_attempt(target, self.attempts > 1, counts_for_budget, self.request.head.is_inference)
        if state.balancer.work.is_tracked and self.request.head.is_inference:
            self.work = self.attempt.work = state.balancer.work.begin(target.name, self.model, self.request.body)
        self.deadline = min(state.now + state.settings.first_byte_timeout, self.limit)

    def end_attempt(self, now: float | None = None) -> None:
        """End the attempt in progress, if there is one: return its connection to the pool, and report the attempt.

        `now`: the time by the state's clock, None to read that clock.
        """
        state = self.state
        upstream, self.upstream = self.upstream, None
        if upstream is not None:
            upstream.persistent = upstream.persistent and not self.interruption  # `interrupt` has shut it down
            state.upstream_pool.release(upstream, state.now)
        attempt, self.attempt = self.attempt, None
        if attempt is not None:
            attempt.report(state, self.request.head, upstream, self.interruption, state.clock() if now is None else now)

    def fail_attempt(self, reason: str = "", on_any_path: bool = False) -> None:
        """Mark the attempt in progress as failed. `reason`: how the instance failed; empty if it made no mistake."""
        if self.attempt is not None:
            self.attempt.fail(self.request.head, reason, on_any_path)

    def interrupt(self, reason: str) -> None:
        """End the exchange from another greenlet: wake the greenlet that waits for the instance or in a queue.

        `reason`: "client", "timeout" or "stopping", which no later reason replaces; or HANDOVER, after which the stream
        goes on at another instance.
        """
        if self.interruption in ("", HANDOVER):
            self.interruption = reason
        if self.waiter is not None:
            self.waiter.wake()
        if self.upstream is not None:
            self.upstream.aborted = True
            with suppress(OSError):
                shut(self.upstream.sock)

    def interruption_error(self) -> SvcError | ClientGone:
        """Return the exception that an interrupted exchange raises. For a timeout, also mark the attempt as failed."""
        if self.interruption == "client":
            return ClientGone()
        if self.interruption == "stopping":
            return Unavailable("the router is stopping; send the request again")
        settings = self.state.settings
        if self.state.now >= self.limit:
            self.fail_attempt()
            return GatewayTimeout(f"no whole answer within {settings.proxy_timeout:g} s")
        reason = f"no answer within {settings.first_byte_timeout:g} s"
        if self.first_byte_at:
            reason = f"the answer paused for {settings.idle_timeout:g} s"
        self.fail_attempt(reason)
        return GatewayTimeout(reason)

    # The response's body.

    def read(self) -> bytes:
        """Return the next part of the response's body, empty at its end. The parts of an event stream are whole events.

        If an event stream breaks off, its last part is an error event. If any other response breaks off, or is not as
        long as its head says, raise TruncatedResponse.
        """
        if self.ended:
            return b""
        upstream, stream = self.upstream, self.stream
        assert upstream is not None
        try:
            data = upstream.read()
            self.note_progress(len(data))
            while stream is not None:
                if stream.held or not data.endswith(EVENT_ENDS):
                    data = stream.whole_events(data, upstream, self.note_progress)
                data = stream.add(data, self.state.clock)
                if stream.rewriter is not None and self.resumption is not None:
                    data += self.resumption.last_events(self)
                record = stream.record
                if record is not None and self.body_bytes > record.fold_at and self.resumption is not None:
                    self.resumption.fold(self)
                if data or self.finished():
                    return data
                data = upstream.read()
                self.note_progress(len(data))
        except UpstreamError as error:
            return end_broken(self, upstream, error) or self.read()
        if self.id_reader is not None:
            self.id_reader.feed(data)
        if self.body_start or len(data) > USAGE_TAIL_BYTES:
            self.body_usage = usage_part(self.body_end, data) or self.body_usage
        self.body_start = self.body_start or data[:USAGE_TAIL_BYTES]
        self.body_end = (self.body_end + data if len(data) < USAGE_TAIL_BYTES else data)[-USAGE_TAIL_BYTES:]
        length = upstream.length
        if length is not None and length != self.body_bytes and (upstream.done or self.body_bytes > length):
            raise wrong_length(self, upstream, length)
        return data

    def passes(self, data: bytes) -> bool:
        """Return whether these bytes can be passed on unparsed: they are exactly one chunk with whole events.

        The chunk's size must be written exactly as the router writes it, so that no client can interpret it
        differently.
        """
        size, stream = len(data) - data.find(b"\r\n", 0, 10) - 4, self.stream
        if stream is None or stream.held or size < 1 or not data.endswith(CHUNK_ENDS):
            return False
        if not data.startswith(b"%x\r\n" % size):
            return False
        deadline = self.state.now + self._idle_timeout  # as `note_progress` does, without the cost of a call
        self.deadline = deadline if deadline < self.limit else self.limit
        self.body_bytes += size
        tokens = stream.tokens
        if tokens.count:  # events are examined only until the first token has come
            tokens.count += 1
            tokens.recent.append(data)
            record = stream.record
            if record is not None:
                record.chunks.append(data)
                if self.body_bytes > record.fold_at and self.resumption is not None:
                    self.resumption.fold(self)
        else:
            self.first_byte_at = self.first_byte_at or self.state.clock()
            stream.add(data[-size - 2 : -2], self.state.clock)
        return True

    def count_tunnel_bytes(self, size: int, from_instance: bool) -> None:
        """Count tunnelled bytes and postpone the idle deadline; `proxy_timeout` does not apply to a tunnel."""
        self.deadline = self.state.now + self._idle_timeout
        if from_instance:
            self.first_byte_at = self.first_byte_at or self.state.clock()
            self.body_bytes += size

    def finished(self) -> bool:
        """Return whether the whole body of the response has been read."""
        upstream, stream = self.upstream, self.stream
        return self.ended or (upstream is not None and upstream.done and (stream is None or not stream.held))

    def take_place(self, places: "FreePlaces") -> str:
        """Take a place for the response at another instance; return why it cannot go on there now, empty if it can."""
        return "not_supported" if self.resumption is None else self.resumption.take_place(self, places)

    def note_progress(self, size: int) -> None:
        """Count `size` bytes of the body and postpone the idle deadline, also for bytes that are not passed on yet."""
        self.first_byte_at = self.first_byte_at or self.state.clock()
        deadline = self.state.now + self._idle_timeout
        self.deadline = deadline if deadline < self.limit else self.limit
        self.body_bytes += size

    def close(self) -> None:
        """End the attempt, release API key and memory, and record the exchange. A second call does nothing."""
        if self.closed:
            return
        self.closed = True
        interruption = "" if self.interruption == HANDOVER else self.interruption
        if self.end == "done" and (interruption or not self.finished()):
            self.end = interruption or "client"
        now = self.state.clock()
        self.end_attempt(now)
        if self.limits is not None:
            self.limits.release()
        if self.allocation is not None:
            self.allocation.shrink(0)
        report_end(self, now)
