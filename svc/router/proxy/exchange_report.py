"""The report of an exchange: its record for the access log, its tokens for the metrics, and its failures."""

import logging
from typing import TYPE_CHECKING

from svc.base.errors import PoisonedRequest, SvcError
from svc.router.balance.target import Target
from svc.router.proxy.used_tokens import count_running, count_used, used_tokens
from svc.router.resume.eligibility import FAILURES, REASONS
from svc.router.telemetry.statistics import UNKNOWN_MODEL, USAGE_TAIL_BYTES, RequestRecord

if TYPE_CHECKING:
    from svc.router.balance.fair_order import Charge
    from svc.router.proxy.exchange import Exchange
    from svc.router.proxy.response_stream import ResponseStream
    from svc.router.proxy.retry import FailedAttempt

log = logging.getLogger(__name__)
STATUS_CLIENT_CLOSED_REQUEST = 499  # in the access log only, as in nginx


def report_end(exchange: "Exchange", now: float) -> None:
    """Record an exchange that has ended, and count its tokens. `now`: the time by the state's clock."""
    stream, record, label = exchange.stream, _record(exchange, now), _model_label(exchange)
    first_token = stream.first_token_at - exchange.started if stream is not None and stream.first_token_at else None
    usage = exchange.state.statistics.record_request(record, first_token, _usage_excerpt(exchange), label)
    if exchange.account is not None or exchange.state.usage is not None:
        count_used(exchange, label, used_tokens(exchange, usage), now)
    if exchange.state.access_log is not None:
        exchange.state.access_log.add(record)
    tokens = record.completion_tokens
    if exchange.work is not None and record.prompt_tokens is not None:
        exchange.work.learn(record.prompt_tokens, tokens or 0)
    if stream is not None:
        tokens = tokens or stream.tokens.total()
        _count_tokens(exchange, stream, exchange.instance, label, tokens)
    elif tokens:
        exchange.state.statistics.record_tokens(exchange.instance, label, tokens)
    if exchange.charge is not None:
        _settle(exchange, exchange.charge, record.prompt_tokens, tokens or 0)


def log_failure(exchange: "Exchange", target: Target, reason: str, level: int = logging.WARNING) -> None:
    """Log why an attempt at an instance failed."""
    request_id = exchange.request_id.decode("latin-1")
    log.log(level, "%s %s: %s", request_id, target.name, reason, extra={"request_id": request_id})


def report_resumed(exchange: "Exchange", cause: str, instance: str, other: str = "") -> None:
    """Count an answer that `instance` has broken off and `other` continues (empty: the router has ended it itself)."""
    exchange.state.statistics.resumptions[f"resumed {cause}"] += 1
    exchange.state.resumptions.resumed(instance, other)


def report_not_resumed(exchange: "Exchange", reason: str, instance: str) -> None:
    """Count an answer that `instance` has broken off and no instance continues. `reason`: a key of REASONS."""
    outcome = "failed" if reason in FAILURES else "refused"
    exchange.state.statistics.resumptions[f"{outcome} {reason}"] += 1
    exchange.state.resumptions.failed(instance, reason)


def unresumed_error(exchange: "Exchange", failure: SvcError, reason: str) -> SvcError:
    """Return the client's error for an answer that does not go on: how it broke off, and why it does not go on."""
    sentence = REASONS[reason]
    if reason == "failed":
        last = exchange.failures[-1]
        sentence = f"{sentence}: {last.target.name}: {last.reason}"
    cure = "" if reason == "error" else "; send the request again"
    return type(failure)(f"{failure.message}; it could not be continued: {sentence}{cure}")


def report_poisoned(exchange: "Exchange", body: bytes, failures: "tuple[FailedAttempt, ...]") -> PoisonedRequest:
    """Add a request that kills instances to the poison list, report events, and return the error for the client."""
    state, killed = exchange.state, [failure.target.name for failure in failures if failure.died]
    state.poison.add(body, state.now)
    state.poison_counts[exchange.key_name] += 1
    request_id = exchange.request_id.decode("latin-1")
    by = f"request {request_id}" + (f" of key {exchange.key_name}" if exchange.key_name else "")
    for name in killed:
        others = ", ".join(other for other in killed if other != name)
        state.event_reporter.add("poisoned", name, f"it died while it served {by}, and so did {others}")
    return PoisonedRequest(f"{' and '.join(killed)} died while they served this request; it is not sent to another one")


def _settle(exchange: "Exchange", charge: "Charge", prompt: int | None, completion: int) -> None:
    """Charge the account with what its request has used: nothing if no instance has worked for it.

    `prompt`: the tokens that the response reports, None if it reports none.
    """
    balancer, tokens = exchange.state.balancer, 0
    if exchange.attempts and (exchange.status < 400 or exchange.interruption):
        means = balancer.work.means(exchange.model)
        if prompt is None:
            prompt = means.prompt(charge.body_bytes)
        elif exchange.work is None:  # otherwise the work has learned from this response already
            means.learn(charge.body_bytes, prompt, completion)
        tokens = prompt + completion
    balancer.queue.order.end(charge, tokens)


def log_unexpected_error(exchange: "Exchange") -> SvcError:
    """Log the exception that is being handled, and return the error for the client."""
    exchange.end = "failed"
    request_id = exchange.request_id.decode("latin-1")
    log.exception("%s: the router failed", request_id, extra={"request_id": request_id})
    return SvcError(f"the router failed; its log has the reason under {request_id}")


def count_running_stream(exchange: "Exchange") -> None:
    """Count the tokens of a running event stream so far. Call this once a second, so that metrics show long streams."""
    stream, attempt = exchange.stream, exchange.attempt
    if stream is not None and attempt is not None:
        label = _model_label(exchange)
        _count_tokens(exchange, stream, attempt.target.name, label, stream.settled_tokens())
        if exchange.work is not None:
            exchange.work.progress(stream.settled_tokens())
        if (charge := _charge(exchange)) is not None:
            balancer = exchange.state.balancer
            used = balancer.work.means(exchange.model).prompt(charge.body_bytes) + stream.settled_tokens()
            balancer.queue.order.charge(charge, max(charge.tokens, used))
        if exchange.state.usage is not None:
            count_running(exchange, stream, label)


def _charge(exchange: "Exchange") -> "Charge | None":
    """Return the charge of a running stream; None without an account. A stream that did not wait gets a new charge."""
    account, charge = exchange.account, exchange.charge
    if charge is None and account is not None and exchange.request.head.is_inference:
        queue = exchange.state.balancer.queue
        charge = queue.new_charge(account, exchange.model, exchange.state.now, len(exchange.request.body))
        exchange.charge = charge
        queue.order.begin(charge)
    return charge


def _count_tokens(exchange: "Exchange", stream: "ResponseStream", instance: str, label: str, total: int) -> None:
    """Raise a stream's tokens in the metrics to `total`, and add the stream's time to first token, once."""
    first_token_at, tokens = stream.new_first_token_at(), stream.new_tokens(total)
    if tokens or first_token_at:
        first = first_token_at - exchange.started if first_token_at else None
        exchange.state.statistics.record_tokens(instance, label, tokens, first)


def _model_label(exchange: "Exchange") -> str:
    """Return the model's label in metrics: UNKNOWN_MODEL if no instance has the model, as clients may invent names."""
    model = exchange.model
    is_known = model is None or (model in exchange.state.balancer.table.models and not exchange.hides_model)
    return (model or "") if is_known else UNKNOWN_MODEL


def _usage_excerpt(exchange: "Exchange") -> bytes:
    """Return the parts of a successful response in which its usage may be; empty for any other response."""
    if exchange.status != 200:
        return b""
    if exchange.stream is not None:
        return exchange.stream.usage_excerpt()
    if exchange.body_bytes <= USAGE_TAIL_BYTES:
        return exchange.body_end
    return b"\n".join((exchange.body_start, exchange.body_usage, exchange.body_end))


def _record(exchange: "Exchange", now: float) -> RequestRecord:
    head, started = exchange.request.head, exchange.started
    record = RequestRecord(
        id=exchange.request_id.decode("latin-1"),
        client=exchange.client,
        key=exchange.key_name,
        method=head.method_text,
        path=head.uri_text,
        model=exchange.model or "",
        instance=exchange.instance,
        status=STATUS_CLIENT_CLOSED_REQUEST if exchange.end == "client" else exchange.status,
        bytes=exchange.body_bytes,
        first_byte=exchange.first_byte_at - started if exchange.first_byte_at else None,
        duration=now - started,
        attempts=exchange.attempts,
        end=exchange.end,
    )
    if exchange.instances:
        record.resumed, record.instances = len(exchange.instances) - 1, exchange.instances
    return record
