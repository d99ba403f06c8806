"""Continues a streamed answer at another instance after its own instance has failed, or is to be restarted.

The client notices nothing but a pause: the other instance is asked to continue the text so far, and its events are
rewritten so that they belong to the same stream (`svc/router/resume/` has the rules, all of them pure). An answer that
cannot be continued ends with an error event that says why.
"""

from typing import TYPE_CHECKING

from svc.base.errors import BadGateway, SvcError
from svc.router.balance.continuing_instances import FreePlaces, choose_continuing_or_wait, has_continuing_instance
from svc.router.balance.routing_request import RoutingRequest
from svc.router.balance.target import Target
from svc.router.http.request import Media, Request
from svc.router.http.response_parser import ResponseHead
from svc.router.http.upstream_error import AttemptOutcome, UpstreamError
from svc.router.proxy.answer_record import AnswerRecord
from svc.router.proxy.body_buffers import LARGE_BYTES
from svc.router.proxy.broken_response import fail
from svc.router.proxy.exchange_report import report_not_resumed, report_poisoned, report_resumed, unresumed_error
from svc.router.proxy.response_breaks import HANDOVER, ClientGone
from svc.router.proxy.response_stream import ResponseStream
from svc.router.proxy.retry import MAX_ATTEMPTS, FailedAttempt, counts_for_budget, kills
from svc.router.proxy.send_request import send_request
from svc.router.proxy.upstream import refuses_connections
from svc.router.proxy.used_tokens import prompt_tokens
from svc.router.resume.continuation import Continuation, continuation, is_used_up
from svc.router.resume.continued_events import ContinuedEvents
from svc.router.resume.dialect import Dialect, dialect_of
from svc.router.resume.eligibility import why_not
from svc.router.resume.ending import ending

if TYPE_CHECKING:
    from svc.router.proxy.exchange import Exchange

NO_RESUME_HEADER = b"x-no-resume"
PASSING_REASONS = ("", "reasoning", "unreadable")  # reasons that may no longer hold when the answer is longer


class Resumption:
    """Continues one stream at another instance. `reason`: why it can never be continued; empty if it may be.

    It has no reference to its exchange: that would be a cycle, which would keep the request in memory.
    """

    __slots__ = ("_client_address", "_dialect", "_failed", "_is_asking", "_is_judged", "_request", "_routing", "reason")

    def __init__(
        self, exchange: "Exchange", stream: ResponseStream, routing: RoutingRequest, client_address: bytes
    ) -> None:
        dialect = dialect_of(exchange.request.head.uri)
        self.reason = _first_reason(exchange, dialect)
        self._is_asking = False  # whether another instance is being chosen or asked
        self._is_judged = False  # whether the answers to this kind of request were checked for being continuable
        if self.reason or dialect is None:  # without a reference to the request, whose body may be large
            return
        self._dialect, self._request, self._routing = dialect, exchange.request, routing
        self._client_address = client_address
        self._failed: tuple[Target, ...] = ()  # the instances that have failed while they served the answer
        stream.record = AnswerRecord(dialect)

    def fold(self, exchange: "Exchange") -> None:
        """Fold the stream's record, and drop it if the answer can never be continued."""
        stream = exchange.stream
        assert stream is not None
        record = stream.record
        if record is None:
            return
        record.fold(exchange.body_bytes)
        partial = record.partial
        reason = partial.obstacle
        if partial.size > exchange.state.settings.resume_max_text:
            reason = "too_long"
        if not reason and not self._is_judged and partial.has_content:
            self._is_judged, judged = True, self._judge(exchange, record)
            reason = "" if judged in PASSING_REASONS else judged
            if not has_continuing_instance(exchange.state.balancer.table, self._routing.model, self._dialect.proof):
                reason = reason or "engine"
        if stream.tokens.unended:
            reason = "too_long"  # a part of an event was passed on, because the whole event is too long
        if reason:
            self.reason, stream.record = reason, None

    def why_not(self, exchange: "Exchange") -> str:
        """Return why the answer cannot be continued as it is now; empty if it can."""
        stream = exchange.stream
        assert stream is not None
        self.fold(exchange)
        return self.reason if stream.record is None else self._judge(exchange, stream.record)

    def last_events(self, exchange: "Exchange") -> bytes:
        """Return the last events of a continued answer that its instance does not send; empty if it sends them.

        An instance does not notice a stop text that began before its part of the answer, and would generate on. So the
        router ends the answer itself, and leaves the instance at once.
        """
        stream, upstream = exchange.stream, exchange.upstream
        assert stream is not None
        assert upstream is not None
        data = stream.take_unended(exchange.state.clock) if upstream.done else b""
        if stream.rewriter is not None and stream.rewriter.stopped:
            self.fold(exchange)
            data += self._end(exchange, stream)
        return data

    def _end(self, exchange: "Exchange", stream: ResponseStream) -> bytes:
        """End an answer of which only the last events are missing; return these events.

        If the answer is not recorded any more, return no bytes, and let the instance end it.
        """
        if stream.record is None:
            return b""
        exchange.ended, stream.rewriter = True, None
        events = ending(self._dialect, self._request.body, stream.record.partial, prompt_tokens(exchange))
        return stream.add(events, exchange.state.clock)

    def take_place(self, exchange: "Exchange", places: FreePlaces) -> str:
        """Take a place for the answer at another instance; return why it cannot go on there now, empty if it can."""
        if self._is_asking:
            return "instance"
        has_gone_back = exchange.instances[-2:] == (exchange.instance,) * 2  # no other instance has continued it
        reason = "failed" if has_gone_back else self.why_not(exchange)
        record = None if exchange.stream is None else exchange.stream.record
        if reason or record is None:
            return reason
        model, proof = self._routing.model, self._dialect.proof if record.partial.has_content else ""
        excluded = (*exchange.state.balancer.table.unchanged_names(self._failed), exchange.instance)
        if not places.has_instance(model, proof, excluded):
            return "engine"
        return "" if places.take(model, proof, excluded) else "instance"

    def _judge(self, exchange: "Exchange", record: AnswerRecord) -> str:
        limit = exchange.state.settings.resume_max_text
        return why_not(self._dialect, self._request.body, record.partial, limit)

    def resume(self, exchange: "Exchange", error: UpstreamError) -> bytes | SvcError:
        """Continue the answer after this failure of its instance.

        Return no bytes if another instance continues it: the exchange reads its response from then on. Return the last
        bytes if only the end was missing. Otherwise return the error for the client. Raise ClientGone if the client
        has left.
        """
        stream, attempt = exchange.stream, exchange.attempt
        assert stream is not None
        cause = exchange.interruption or "broken"
        if stream.rewriter is not None and stream.rewriter.failure and cause == "broken":
            exchange.fail_attempt()  # an instance is not ejected because it does not continue answers
            report_not_resumed(exchange, "failed", exchange.instances[0])
            return BadGateway(f"the answer broke off, and {exchange.instance} does not continue it: {error}")
        if cause == HANDOVER:
            exchange.interruption = ""
            failure: SvcError | ClientGone = BadGateway(
                "the instance is to be restarted, and its answer was broken off"
            )
        else:
            failure = fail(exchange, error)
        assert isinstance(failure, SvcError)
        if cause == "stopping" or attempt is None or exchange.state.now >= exchange.limit:
            return failure
        stream.held = b""
        first_byte_at = exchange.first_byte_at
        exchange.interruption, self._is_asking = "", True
        try:
            outcome = self._resume_elsewhere(exchange, stream, attempt.target, failure, cause)
        except SvcError as interruption_error:  # the router stops, or the time for the whole request is over
            return interruption_error.with_traceback(None)
        finally:
            exchange.first_byte_at, self._is_asking = first_byte_at, False
        if isinstance(outcome, SvcError) and cause == "timeout":
            exchange.interruption = exchange.interruption or cause
        return outcome

    def _resume_elsewhere(
        self, exchange: "Exchange", stream: ResponseStream, target: Target, failure: SvcError, cause: str
    ) -> bytes | SvcError:
        """Continue the answer that `target` has broken off, and return what `resume` returns.

        `failure`: the client's error if the answer cannot go on; `cause`: why it broke off, a label of metrics.
        """
        reason = self.why_not(exchange)
        record = stream.record
        if reason or record is None:
            report_not_resumed(exchange, reason, target.name)
            return unresumed_error(exchange, failure, reason)
        partial, body = record.partial, self._request.body
        partial.drop_unended()
        if partial.finish_reason or is_used_up(body, partial):
            report_resumed(exchange, cause, target.name)
            return self._end(exchange, stream)
        prompt_tokens(exchange)  # estimated now, before exchange.request becomes the continuation
        exchange.end_attempt()
        if cause != HANDOVER:  # an instance that handed over may continue the answer later, such as after its restart
            self._failed = (*self._failed, target)
            died = cause == "broken" and refuses_connections(target)
            exchange.failures += (FailedAttempt(target, AttemptOutcome.BEGUN, failure.message, died=died),)
        request = continuation(self._dialect, body, partial)
        try:
            reason = self._ask_others(exchange, request)
            refused = reason not in ("", "poisoned")
            if refused and cause == HANDOVER and self._goes_back(exchange, target, request.repeats):
                reason = ""
        finally:
            exchange.request = self._request
        if reason == "":
            instance = exchange.instance
            stream.rewriter = ContinuedEvents(partial, request)
            exchange.instances = (*(exchange.instances or (target.name,)), instance)
            report_resumed(exchange, cause, target.name, instance)
            return b""
        report_not_resumed(exchange, reason, target.name)
        if reason == "poisoned":
            return report_poisoned(exchange, self._routing.body, exchange.failures)
        return unresumed_error(exchange, failure, reason)

    def _goes_back(self, exchange: "Exchange", target: Target, repeats: bool) -> bool:
        """Return whether the instance that hands over continues the answer itself, because no other one does."""
        if not (repeats or target.continues(self._dialect.proof)):
            return False
        exchange.attempts += 1
        result = send_request(exchange, target, self._client_address)
        if isinstance(result, ResponseHead) and result.status == 200 and result.events:
            return True
        exchange.end_attempt()
        return False

    def _ask_others(self, exchange: "Exchange", request: Continuation) -> str:
        """Ask other instances, one after the other, until one continues; return why none does, empty if one does."""
        state = exchange.state
        exchange.request = Request(self._request.head, request.body)
        proof = "" if request.repeats else self._dialect.proof
        while True:
            if kills(exchange.failures):
                return "poisoned"
            # An instance that refused the connection had no work with the request. Each is asked only once.
            failures = tuple(failure for failure in exchange.failures if not failure.refused)
            if len(failures) >= MAX_ATTEMPTS:
                return "attempts"
            counts = bool(failures) and counts_for_budget(failures)
            if counts and not state.balancer.may_retry():
                return "attempts"
            balancer, routing, failed = state.balancer, self._routing, self._failed
            if not has_continuing_instance(balancer.table, routing.model, proof):
                return "engine"
            seconds = state.settings.queue_timeout
            target = choose_continuing_or_wait(balancer, routing, exchange.on_wait, failed, proof, seconds)
            if target is None:
                return "instance"
            exchange.attempts += 1
            result = send_request(exchange, target, self._client_address, counts)
            if isinstance(result, ResponseHead) and result.status == 200 and result.events:
                state.balancer.record_response_begun(target)
                return ""
            if isinstance(result, ResponseHead) and result.status != 503:
                exchange.end_attempt()
                exchange.failures += (
                    FailedAttempt(target, AttemptOutcome.BEGUN, f"it answered {result.status} instead of continuing"),
                )
                return "failed"
            if isinstance(result, ResponseHead):
                result = FailedAttempt(target, AttemptOutcome.UNREADY, "it answered 503")
            exchange.end_attempt()
            exchange.failures += (result,)
            self._failed = (*self._failed, target)


def _first_reason(exchange: "Exchange", dialect: Dialect | None) -> str:
    """Return why the answer to a request can never be continued, as far as its head shows; empty if it may be."""
    request, state = exchange.request, exchange.state
    head = request.head
    if dialect is None or head.method != b"POST" or head.media is not Media.JSON or exchange.status != 200:
        return "not_supported"
    if not state.resumes(exchange.model):
        return "off"
    if head.special.get(NO_RESUME_HEADER, b"0") != b"0":
        return "client_refuses"
    return "request_too_large" if len(request.body) > LARGE_BYTES else ""
