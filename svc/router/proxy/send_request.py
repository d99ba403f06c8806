"""Sends a request to an instance: one attempt, from the connection to the head of the response.

The head of an answer that is not streamed is held back until its body is whole or MAX_HELD_BYTES of it have arrived. If
the instance dies before that, the client has received nothing, and the request can be sent to another instance.
"""

from svc.router.balance.target import Target
from svc.router.http.allowed_paths import creates_response
from svc.router.http.response_parser import ResponseHead
from svc.router.http.upstream_error import AttemptOutcome, UpstreamError
from svc.router.proxy.exchange import Exchange
from svc.router.proxy.exchange_report import log_failure
from svc.router.proxy.retry import FailedAttempt
from svc.router.proxy.upstream import refuses_connections

IDLE_END_SECONDS = 0.05  # the end of a connection that was closed while idle is noticed within this time
MAX_HELD_BYTES = 64 << 10  # when this much of a body has arrived, the head of its response is passed on


def send_request(
    exchange: Exchange, target: Target, client_address: bytes, counts_for_budget: bool = False
) -> ResponseHead | FailedAttempt:
    """Send the request to an instance; return the head of its response, or how the attempt failed.

    A failure is returned, not raised: an exception and this frame would refer to each other, and that cycle would keep
    the body in memory until a garbage collection.
    """
    state, request = exchange.state, exchange.request
    exchange.begin_attempt(target, counts_for_budget)
    message = request.outgoing(target.authority, client_address, exchange.request_id, target.authorization)
    head_only = request.head.method == b"HEAD"
    upstream = state.upstream_pool.take(target)
    reused = upstream is not None
    while True:
        try:
            if upstream is None:
                upstream = state.upstream_pool.connect(target)
            exchange.upstream = upstream
            if exchange.interruption:
                raise exchange.interruption_error()
            upstream.send_request(message, head_only, bool(request.head.upgrade), request.uncopied_body())
            answer = upstream.read_head()
            if not (upstream.done or upstream.length is None or answer.streams) and request.head.is_inference:
                upstream.hold_body(MAX_HELD_BYTES, exchange.note_progress)
            return answer
        except UpstreamError as error:
            if (
                upstream is None
                or not reused
                or exchange.interruption
                or not _may_resend_on_new_connection(exchange, error)
            ):
                return _failed_attempt(exchange, error, target, connected=upstream is not None)
        upstream.close()
        exchange.upstream = upstream = None
        reused = False


def _may_resend_on_new_connection(exchange: Exchange, error: UpstreamError) -> bool:
    """Return whether the request may be sent again, because the kept connection had ended while it was idle.

    The instance has not failed then. The signs are that

    1. the request was never acknowledged; or
    2. the connection was reset when the request arrived: the kernel resets a connection that is closed with unread
       bytes; or
    3. it was closed in order at that moment. A server may close its side first and discard what still arrives, so
       that its kernel acknowledges the request (RFC 9112, section 9.6; llama.cpp does so after each stream).

    Signs 2 and 3 can also mean that the request has killed the instance. So they count only once, and sign 3 only for
    requests that may be repeated.
    """
    if error.outcome is AttemptOutcome.UNSENT:
        return True  # sign 1
    attempt = exchange.attempt
    seconds = exchange.state.clock() - attempt.started if attempt is not None else 0.0
    if exchange.ended_by or seconds > IDLE_END_SECONDS or not (error.reset or (error.closed and _repeatable(exchange))):
        return False
    exchange.ended_by = exchange.instance
    return True


def _repeatable(exchange: Exchange) -> bool:
    head = exchange.request.head
    return head.is_inference and not creates_response(head.uri, exchange.request.body)


def _failed_attempt(exchange: Exchange, error: UpstreamError, target: Target, connected: bool) -> FailedAttempt:
    """Mark the attempt as failed and return the failure; if the exchange was interrupted, raise its error instead.

    `connected`: the instance had accepted the connection.
    """
    if exchange.interruption:
        raise exchange.interruption_error()
    exchange.first_byte_at = 0.0
    reason = str(error) or "it failed"  # some errors have no message
    counts_for_ejection = not connected or error.outcome is not AttemptOutcome.UNSENT
    exchange.fail_attempt(reason if counts_for_ejection else "", on_any_path=not connected)
    log_failure(exchange, target, reason)
    if error.refused and exchange.ended_by == target.name:  # the request may have killed the instance
        return FailedAttempt(target, AttemptOutcome.UNKNOWN, reason, refused=True, died=True)
    died = connected and error.outcome is not AttemptOutcome.BEGUN and refuses_connections(target)
    return FailedAttempt(target, error.outcome, reason, error.refused, error.timeout, died)
