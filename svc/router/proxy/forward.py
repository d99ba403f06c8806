"""Forwards a request: reads its model, chooses an instance, sends the request, retries, waits for the response's head.

The balancer chooses the instance, `retry` decides what is sent again, and `exchange` reads the response's body.
"""

import msgspec

from svc.base.errors import BadGateway, GatewayTimeout, PoisonedRequest, RateLimited, SvcError
from svc.router.balance.owned_requests import choose_owner_or_wait
from svc.router.balance.queued_requests import choose_or_wait
from svc.router.balance.refused_requests import choose_again_or_wait
from svc.router.balance.routing_request import RoutingRequest
from svc.router.balance.target import Target
from svc.router.balance.unserved import UnknownModel
from svc.router.http.allowed_paths import creates_response
from svc.router.http.response_parser import ResponseHead
from svc.router.http.upstream_error import AttemptOutcome
from svc.router.proxy.authorization import authorize
from svc.router.proxy.body_buffers import SMALL_BYTES
from svc.router.proxy.engine_priority import pass_priority
from svc.router.proxy.exchange import Exchange
from svc.router.proxy.exchange_report import log_failure, log_unexpected_error, report_poisoned
from svc.router.proxy.response_breaks import ClientGone
from svc.router.proxy.response_stream import ResponseStream
from svc.router.proxy.restricted_models import refusal
from svc.router.proxy.resumption import Resumption
from svc.router.proxy.retry import FailedAttempt, counts_for_budget, explanation, is_retryable, kills
from svc.router.proxy.routing_fields import read_routing_request
from svc.router.proxy.send_request import send_request
from svc.router.proxy.stored_objects import StoredObject
from svc.router.proxy.stream_usage import StreamWithoutUsage, request_usage

REFUSAL_STATUSES = (401, 503)  # with these, an instance may report that it has not processed the request
WRONG_UPSTREAM_KEY = "it refuses the API key that the router's upstream_keys_file has for it (401)"
NOT_READY = "it answered 503"
NO_UPSTREAM_KEY = "it wants an API key (401), and the router's upstream_keys_file has none for it"


def forward(exchange: Exchange, client_address: bytes) -> None:
    """Send the request to an instance and wait for the head of its response, which is then in `exchange.head`.

    Raise SvcError if no instance responds, ClientGone if the client has left. In both cases the exchange is closed.
    """
    try:
        _obtain_response(exchange, client_address)
    except UnknownModel as error:
        # Not stored in a variable: the error and this frame would refer to each other, and stay in memory.
        raise _close_refused(exchange, error) from None
    except SvcError as error:
        close_unanswered(exchange, error)
        raise
    except ClientGone:
        exchange.close()
        raise
    except Exception:  # noqa: BLE001 - an unexpected exception is answered with 500
        failure = log_unexpected_error(exchange)
        close_unanswered(exchange, failure)
        raise failure from None


def _close_refused(exchange: Exchange, error: UnknownModel) -> SvcError:
    """Close an exchange whose model no instance has, and return the error for the client."""
    failure = refusal(exchange, error)
    close_unanswered(exchange, failure)
    return failure


def close_unanswered(exchange: Exchange, error: SvcError) -> None:
    """Close an exchange whose client gets this error, because no instance's response is passed on."""
    exchange.status = error.status
    exchange.end = exchange.interruption or ("failed" if exchange.attempts or error.status == 500 else "refused")
    exchange.close()


def _obtain_response(exchange: Exchange, client_address: bytes) -> None:
    """Obtain a response and set the exchange's response head, status and stream; raise SvcError, or ClientGone."""
    state = exchange.state
    head = exchange.request.head
    if not exchange.authorized and (state.authorizes_all or head.needs_authorization):
        authorize(exchange, client_address)
    if len(exchange.request.body) > SMALL_BYTES and exchange.allocation is None:  # the body arrived with the head
        exchange.allocate(len(exchange.request.body), state.now + state.settings.queue_timeout, exchange.on_wait)
    routing = read_routing_request(exchange)
    if state.settings.pass_priority and exchange.account is not None:
        routing = pass_priority(exchange, exchange.account, routing)
    if state.poison.entries and state.poison.contains(routing.body, state.now):
        raise PoisonedRequest("this request killed two instances before; it is not sent to another one")
    if exchange.account is not None and head.is_inference:
        routing.account = exchange.account
    stored = StoredObject(exchange, routing) if head.object_path is not None else None
    if stored is not None and stored.owner is not None:
        routing = msgspec.structs.replace(routing, owner=stored.owner)
        seconds = state.settings.queue_timeout
        target = choose_owner_or_wait(state.balancer, routing, exchange.on_wait, seconds, head.is_inference)
    else:
        target = choose_or_wait(state.balancer, routing, exchange.on_wait)
    if routing.charge is not None:
        exchange.charge = routing.charge
    if state.settings.stream_usage:
        request_usage(exchange)
    exchange.attempts = 1
    result = send_request(exchange, target, client_address)
    if isinstance(result, FailedAttempt) or result.status in REFUSAL_STATUSES:
        result = _retry(exchange, routing, target, result, client_address)
    exchange.head, exchange.status = result, result.status
    if result.events:
        exchange.stream = StreamWithoutUsage() if exchange.hides_usage else ResponseStream()
        exchange.resumption = Resumption(exchange, exchange.stream, routing, client_address)
    if stored is not None:
        stored.record_response(exchange)
    if result.status < 500 and exchange.request.head.is_inference and exchange.attempt is not None:
        state.balancer.record_response_begun(exchange.attempt.target)


def _retry(
    exchange: Exchange,
    routing: RoutingRequest,
    target: Target,
    result: ResponseHead | FailedAttempt,
    client_address: bytes,
) -> ResponseHead:
    """Retry as long as retries are allowed; return the response head to pass on, or raise SvcError.

    `result`: how the first attempt ended. If the last attempt ends with an instance's own 503, return the head of this
    response.
    """
    failures: tuple[FailedAttempt, ...] = ()
    while True:
        failure = result if isinstance(result, FailedAttempt) else _refusal(exchange, target, result.status)
        if failure is None:
            assert isinstance(result, ResponseHead)
            return result
        exchange.failures = failures = (*failures, failure)
        next_target = _target_for_retry(exchange, routing, failures)
        if next_target is None:
            if isinstance(result, ResponseHead) and result.status == 503:
                return result  # the instance's own error explains best what is wrong
            raise _unanswered_error(failures)
        exchange.end_attempt()
        exchange.attempts += 1
        target = next_target
        result = send_request(exchange, target, client_address, counts_for_budget(failures))


def _refusal(exchange: Exchange, target: Target, status: int) -> FailedAttempt | None:
    """Return the failure if the instance has refused the request; None if its response is for the client.

    A 401 is for the client only if the client's own credentials were sent. Otherwise the router's key for the instance
    is missing or wrong.
    """
    if status == 503:
        return FailedAttempt(target, AttemptOutcome.UNREADY, NOT_READY)
    if status != 401 or (target.authorization is None and exchange.state.keys is None):
        return None
    reason = WRONG_UPSTREAM_KEY if target.key else NO_UPSTREAM_KEY
    exchange.fail_attempt(reason)
    log_failure(exchange, target, reason)
    return FailedAttempt(target, AttemptOutcome.UNREADY, reason)


def _target_for_retry(
    exchange: Exchange, routing: RoutingRequest, failures: tuple[FailedAttempt, ...]
) -> Target | None:
    """Return the instance for the next attempt; None if the request may not be retried or no instance can take it.

    Raise PoisonedRequest for a request that kills instances.
    """
    state, head = exchange.state, exchange.request.head
    if kills(failures):
        raise report_poisoned(exchange, routing.body, failures)
    if routing.owner is not None:  # an answer of another instance would be wrong
        return None
    if not is_retryable(failures, head.is_inference and not creates_response(head.uri, routing.body)):
        return None
    if counts_for_budget(failures) and not state.balancer.may_retry():
        return None
    failed = tuple(failure.target for failure in failures)
    other = state.balancer.pick_other(routing, failed)
    if other is None and _may_have_gone(failures[-1]):
        return _wait_for_registry(exchange, routing, failures)
    return other


def _may_have_gone(failure: FailedAttempt) -> bool:
    """Return whether the instance may have ended, or fallen asleep, just before it got the request."""
    return failure.refused or (failure.reason == NOT_READY and failure.target.is_on_demand)


def _wait_for_registry(
    exchange: Exchange, routing: RoutingRequest, failures: tuple[FailedAttempt, ...]
) -> Target | None:
    """Wait until the registry reports the state of the instances that may have ended, or fallen asleep.

    Return the instance for the next attempt, None if there is none in time.
    """
    refused = tuple(failure.target for failure in failures if _may_have_gone(failure))
    taken = tuple(failure.target.name for failure in failures if not _may_have_gone(failure))
    if exchange.waited_for_registry or all(target.static for target in refused):
        return None
    exchange.waited_for_registry = True
    exchange.end_attempt()
    try:
        seconds = exchange.state.settings.queue_timeout
        return choose_again_or_wait(exchange.state.balancer, routing, exchange.on_wait, refused, taken, seconds)
    except RateLimited:  # the queue is full, but for the client, the failures of the instances explain more
        return None


def _unanswered_error(failures: tuple[FailedAttempt, ...]) -> SvcError:
    """Return the error for a request to which no instance responded, with the reason of each failed attempt."""
    kind = GatewayTimeout if all(failure.timeout for failure in failures) else BadGateway
    unsent = all(failure.outcome is AttemptOutcome.UNSENT for failure in failures)
    return kind(f"{'cannot reach an instance' if unsent else 'no instance answered'}: {explanation(failures)}")
