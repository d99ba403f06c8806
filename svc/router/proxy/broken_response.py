"""The end of a response that broke off, or whose length is wrong."""

import logging
from typing import TYPE_CHECKING

from svc.base.errors import BadGateway, SvcError
from svc.router.http.error_dialect import error_event
from svc.router.http.upstream_error import UpstreamError
from svc.router.proxy.exchange_report import log_failure
from svc.router.proxy.response_breaks import HANDOVER, ClientGone, TruncatedResponse
from svc.router.proxy.upstream import UpstreamConnection

if TYPE_CHECKING:
    from svc.router.proxy.exchange import Exchange


def end_broken(exchange: "Exchange", upstream: UpstreamConnection, error: UpstreamError) -> bytes:
    """Return the last bytes of an event stream that broke off; empty if it goes on at another instance.

    The last bytes are the rest of the stream if its last event has arrived, else an error event. Raise
    TruncatedResponse for a response that is not an event stream, and ClientGone if the client has left.
    """
    stream, resumption = exchange.stream, exchange.resumption
    if exchange.interruption == "client":
        raise ClientGone from None
    if stream is None:
        failure = str(fail(exchange, error))
        exchange.end = exchange.interruption or "cut"
        log_failure(exchange, upstream.target, failure)
        raise TruncatedResponse(failure) from None
    if exchange.interruption in ("", HANDOVER) and stream.is_complete():
        try:
            rest = stream.take_rest(exchange.state.clock)
        except UpstreamError as failure:  # an instance that should continue the answer has not done so
            error = failure.with_traceback(None)
        else:
            upstream.done, upstream.persistent = True, False
            return rest
    outcome = fail(exchange, error) if resumption is None else resumption.resume(exchange, error)
    if isinstance(outcome, bytes):
        return outcome
    assert isinstance(outcome, SvcError)
    exchange.end, exchange.ended, stream.held = exchange.interruption or "cut", True, b""
    log_failure(exchange, upstream.target, str(outcome))
    unended = stream.tokens.unended  # whether a part of a long event was passed on
    return (b"\n\n" if unended else b"") + error_event(outcome, exchange.request.head.uri)


def fail(exchange: "Exchange", error: UpstreamError) -> SvcError | ClientGone:
    """Mark the attempt in progress as failed, and return the error for the client."""
    exchange.fail_attempt("" if exchange.interruption else str(error) or "it failed")
    if exchange.interruption:
        return exchange.interruption_error()
    return BadGateway(f"the instance's answer broke off: {error}")


def wrong_length(exchange: "Exchange", upstream: UpstreamConnection, length: int) -> TruncatedResponse:
    """Return the error for a body whose length differs from `length`, its Content-Length.

    Parser and head cache should prevent this.
    """
    upstream.persistent = False
    exchange.fail_attempt()
    exchange.end = "cut"
    reason = f"the answer has {exchange.body_bytes} bytes, its head says {length}"
    log_failure(exchange, upstream.target, reason, logging.ERROR)
    return TruncatedResponse(reason)
