"""A request's story: ask, pick, send, and the head of an answer; `exchange` has the rest of it.

What is repeated after a failure, and how often: `retry`.
"""

import logging
import time

import msgspec

from svc.base.errors import BadGateway, GatewayTimeout, PoisonedRequest, RateLimited, SvcError
from svc.router.balance.model_aliases import renamed
from svc.router.balance.routing_request import RoutingRequest, parse
from svc.router.balance.table import Target
from svc.router.http.allowed_paths import creates_response
from svc.router.http.content_coding import decode
from svc.router.http.request import COPIED_BYTES
from svc.router.http.response_parser import ResponseHead
from svc.router.http.upstream_error import AttemptOutcome, UpstreamError
from svc.router.proxy.authorization import authorize
from svc.router.proxy.exchange import FAULTS, ClientGone, Exchange
from svc.router.proxy.retry import FailedAttempt, counts_for_budget, explanation, kills, may_repeat
from svc.router.proxy.upstream import refuses_connections

log = logging.getLogger(__name__)
LARGE_BYTES = 1 << 20
REFUSALS = (401, 503)  # by which an instance may say that it has not processed the request
WRONG_UPSTREAM_KEY = "it refuses the API key that the router's upstream_keys_file has for it (401)"
NO_UPSTREAM_KEY = "it wants an API key (401), and the router's upstream_keys_file has none for it"
RESET_SECONDS = 0.05  # in which a connection that was closed while idle is reset


def forward(exchange: Exchange, client_address: bytes) -> None:
    """Gets an instance to answer, and the head of its answer.

    Raises SvcError when none does, ClientGone when there is nobody to answer;
    nothing is left to close then.
    """
    try:
        _open(exchange, client_address)
    except SvcError as error:
        close_unanswered(exchange, error)
        raise
    except ClientGone:
        exchange.close()
        raise
    except Exception:  # noqa: BLE001 - an unexpected exception is answered with 500
        failure = exchange.log_unexpected_error()
        close_unanswered(exchange, failure)
        raise failure from None


def close_unanswered(exchange: Exchange, error: SvcError) -> None:
    """Ends an exchange in which no instance answered."""
    exchange.status = error.status
    exchange.end = exchange.cut or ("failed" if exchange.attempts or error.status == 500 else "refused")
    exchange.close()


def _open(exchange: Exchange, client_address: bytes) -> None:
    """Gets an instance to answer; raises SvcError, or ClientGone."""
    state = exchange.state
    head = exchange.request.head
    if not exchange.authorized and (head.needs_authorization or state.keys is not None):
        authorize(exchange, client_address)
    ask = _read_ask(exchange)
    if state.poison.entries and state.poison.contains(ask.body, state.now):
        raise PoisonedRequest("this request killed two instances before; it is not sent to another one")
    target = state.admit(ask, exchange.stay)
    exchange.attempts = 1
    result = _attempt(exchange, target, client_address)
    if isinstance(result, FailedAttempt) or result.status in REFUSALS:
        result = _repeat(exchange, ask, target, result, client_address)
    exchange.head, exchange.status, exchange.events = result, result.status, result.events
    if result.status not in FAULTS and exchange.request.head.infers:
        state.answers(exchange.target)


def _repeat(
    exchange: Exchange, ask: RoutingRequest, target: Target, result: ResponseHead | FailedAttempt, client_address: bytes
) -> ResponseHead:
    """Return the head of the answer to pass on, of another instance or the last one's own 503; raises SvcError."""
    failures: tuple[FailedAttempt, ...] = ()
    while True:
        failure = result if isinstance(result, FailedAttempt) else _refusal(exchange, target, result.status)
        if failure is None:
            assert isinstance(result, ResponseHead)
            return result
        failures = (*failures, failure)
        next_target = _next_target(exchange, ask, failures)
        if next_target is None:
            if isinstance(result, ResponseHead) and result.status == 503:
                return result  # it says best what is wrong
            raise _error(failures)
        exchange.report()
        exchange.attempts += 1
        exchange.counts_for_budget, target = counts_for_budget(failures), next_target
        result = _attempt(exchange, target, client_address)


def _refusal(exchange: Exchange, target: Target, status: int) -> FailedAttempt | None:
    """Return how an instance refused the request, None where its answer is the client's.

    A 401 is the client's only where its own credentials were sent; otherwise a key is missing or wrong here.
    """
    if status == 503:
        return FailedAttempt(target, AttemptOutcome.UNREADY, "it answered 503")
    if status != 401 or (target.authorization is None and exchange.state.keys is None):
        return None
    reason = WRONG_UPSTREAM_KEY if target.key else NO_UPSTREAM_KEY
    exchange.failed = True
    exchange.set_ejection_reason(reason)
    request_id = exchange.request_id.decode("latin-1")
    log.warning("%s %s: %s", request_id, target.name, reason, extra={"request_id": request_id})
    return FailedAttempt(target, AttemptOutcome.UNREADY, reason)


def _read_ask(exchange: Exchange) -> RoutingRequest:
    """Return what the request asks for.

    Its body is decoded where it is compressed, and rewritten where an alias or a fallback stands for the model.
    """
    request = exchange.request
    if request.head.coding and request.body:
        _decode_body(exchange)
    large = len(request.body) > LARGE_BYTES  # reading it takes milliseconds for each megabyte, all at once
    if large:
        time.sleep(0)
    ask = parse(request)
    exchange.model = exchange.state.meant(ask.model)
    if exchange.model != ask.model:
        assert exchange.model is not None
        if large:
            time.sleep(0)
        exchange.request = renamed(request, exchange.model)
        request.body, request = b"", exchange.request  # its connection still refers to it
        ask = msgspec.structs.replace(ask, model=exchange.model, body=request.body)
    return ask


def _decode_body(exchange: Exchange) -> None:
    """Decodes a compressed body, whose memory is counted as it grows; raises SvcError."""
    state, request = exchange.state, exchange.request

    def count(size: int) -> None:
        exchange.buffer(size, state.now + state.settings.queue_timeout, exchange.stay)

    request.body = decode(request.take_body(), request.head.coding, state.max_body, count)
    if exchange.allocation is not None:
        exchange.allocation.shrink(len(request.body))


def _next_target(exchange: Exchange, ask: RoutingRequest, failures: tuple[FailedAttempt, ...]) -> Target | None:
    """Return the instance to try next, None where the request is not to be repeated, or nowhere.

    Raises PoisonedRequest for one that kills instances.
    """
    state, head = exchange.state, exchange.request.head
    if kills(failures):
        raise _remember_poisoned(exchange, ask, failures)
    if not may_repeat(failures, head.infers and not creates_response(head.target, ask.body)):
        return None
    if counts_for_budget(failures) and not state.may_retry():
        return None
    failed = tuple(failure.target for failure in failures)
    other = state.pick_other(ask, failed)
    if other is None and failures[-1].refused:
        return _wait_for_registry(exchange, ask, failures)
    return other


def _wait_for_registry(exchange: Exchange, ask: RoutingRequest, failures: tuple[FailedAttempt, ...]) -> Target | None:
    """Return an instance that takes the request once the registry has noticed what became of those that refused it."""
    refused = tuple(failure.target for failure in failures if failure.refused)
    taken = tuple(failure.target.name for failure in failures if not failure.refused)
    if exchange.waited_for_registry or all(target.static for target in refused):
        return None
    exchange.waited_for_registry = True
    exchange.report()
    try:
        return exchange.state.admit_again(ask, exchange.stay, refused, taken)
    except RateLimited:  # no place is free: what happened at the instances says more
        return None


def _remember_poisoned(exchange: Exchange, ask: RoutingRequest, failures: tuple[FailedAttempt, ...]) -> PoisonedRequest:
    """Remembers a request that kills instances, and reports it."""
    state, killed = exchange.state, [failure.target.name for failure in failures if failure.died]
    state.poison.add(ask.body, state.now)
    state.poison_counts[exchange.key] += 1
    request_id = exchange.request_id.decode("latin-1")
    by = f"request {request_id}" + (f" of key {exchange.key}" if exchange.key else "")
    for name in killed:
        others = ", ".join(other for other in killed if other != name)
        state.news.add("poisoned", name, f"it died while it served {by}, and so did {others}")
    return PoisonedRequest(f"{' and '.join(killed)} died while they served this request; it is not sent to another one")


def _error(failures: tuple[FailedAttempt, ...]) -> SvcError:
    """Return the error that says what happened to a request which no instance answered."""
    kind = GatewayTimeout if all(failure.timeout for failure in failures) else BadGateway
    unsent = all(failure.outcome is AttemptOutcome.UNSENT for failure in failures)
    return kind(f"{'cannot reach an instance' if unsent else 'no instance answered'}: {explanation(failures)}")


def _attempt(exchange: Exchange, target: Target, client_address: bytes) -> ResponseHead | FailedAttempt:
    """Return the head of the instance's answer, or how it failed.

    A failure is returned, not raised: a kept exception refers to this frame and the frame to it, and that cycle would
    keep the body until a garbage collection.
    """
    state, request = exchange.state, exchange.request
    exchange.begin(target)
    message = request.outgoing(target.authority, client_address, exchange.request_id, target.authorization)
    body = request.body if len(request.body) > COPIED_BYTES else b""
    head_only = request.head.method == b"HEAD"
    upstream = state.upstream_pool.take(target)
    reused = upstream is not None
    while True:
        try:
            if upstream is None:
                upstream = state.upstream_pool.connect(target)
            exchange.upstream = upstream
            if exchange.cut:
                raise exchange.cut_error()
            upstream.ask(message, head_only, bool(request.head.upgrade), body)
            return upstream.read_head()
        except UpstreamError as error:
            if upstream is None or not reused or exchange.cut or not _was_stale(exchange, error):
                return _failure(exchange, error, target, connected=upstream is not None)
        upstream.close()
        exchange.upstream = upstream = None
        reused = False


def _was_stale(exchange: Exchange, error: UpstreamError) -> bool:
    """Whether a kept connection had ended while it was idle: that is no failure of the instance.

    The request was not acknowledged, or the connection was reset as it came: the kernel does so where it is closed
    with unread bytes. A request is sent again for a reset once: an instance may also die of it.
    """
    if error.reset and not exchange.reset_by and exchange.attempt_seconds() <= RESET_SECONDS:
        exchange.reset_by = exchange.instance
        return True
    return error.outcome is AttemptOutcome.UNSENT


def _failure(exchange: Exchange, error: UpstreamError, target: Target, connected: bool) -> FailedAttempt:
    """Return a failed attempt, and note it for the instance; raise the error of a request that was cut.

    `connected`: the instance had taken the connection.
    """
    if exchange.cut:
        raise exchange.cut_error()
    reason = str(error) or "it failed"  # some errors have no words
    exchange.failed = True
    if not connected or error.outcome is not AttemptOutcome.UNSENT:
        exchange.set_ejection_reason(reason, on_any_path=not connected)
    request_id = exchange.request_id.decode("latin-1")
    log.warning("%s %s: %s", request_id, target.name, reason, extra={"request_id": request_id})
    if error.refused and exchange.reset_by == target.name:  # it is gone: it may have died of the request
        return FailedAttempt(target, AttemptOutcome.UNKNOWN, reason, refused=True, died=True)
    died = connected and error.outcome is not AttemptOutcome.BEGUN and refuses_connections(target)
    return FailedAttempt(target, error.outcome, reason, error.refused, error.timeout, died)
