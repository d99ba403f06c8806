"""A request's story: ask, pick, send, and the head of an answer; `exchange` has the rest of it.

What is repeated after a failure, how often, and why that is safe: `retry`.
"""

import logging

import msgspec

from svc.errors import BadGateway, GatewayTimeout, PoisonedRequest, SvcError
from svc.router.answer import AnswerHead, UpstreamError
from svc.router.ask import Ask, parse
from svc.router.coding import decode
from svc.router.exchange import FAULTS, ClientGone, Exchange
from svc.router.names import renamed
from svc.router.retry import Failure, Outcome, creates, explanation, kills, may_repeat, within_budget
from svc.router.table import Target
from svc.router.upstream import died

log = logging.getLogger(__name__)


def forward(exchange: Exchange, client_address: bytes) -> None:
    """Gets an instance to answer, and the head of its answer.

    Raises SvcError when none does, ClientGone when there is nobody to answer;
    nothing is left to close then.
    """
    try:
        _open(exchange, client_address)
    except SvcError as error:
        _refuse(exchange, error)
        raise
    except ClientGone:
        exchange.close()
        raise
    except Exception:  # noqa: BLE001 - whatever was not foreseen is an answer, too
        failure = exchange.fail()
        _refuse(exchange, failure)
        raise failure from None


def _refuse(exchange: Exchange, error: SvcError) -> None:
    """Ends an exchange in which no instance answered."""
    exchange.status = error.status
    exchange.end = exchange.cut or ("failed" if exchange.attempts or error.status == 500 else "refused")
    exchange.close()


def _open(exchange: Exchange, client_address: bytes) -> None:
    """Gets an instance to answer; raises SvcError, or ClientGone."""
    state = exchange.state
    if state.keys is not None:
        _show_key(exchange)
    ask = _asked(exchange)
    if state.poison.entries and state.poison.contains(ask.body, state.now):
        raise PoisonedRequest("this request killed two instances before; it is not sent to another one")
    failures: tuple[Failure, ...] = ()
    target: Target | None = state.admit(ask, exchange.stay)
    while True:
        assert target is not None
        exchange.attempts += 1
        head = _attempt(exchange, target, client_address)
        if isinstance(head, AnswerHead) and head.status != 503:
            break
        failures = (*failures, head if isinstance(head, Failure) else Failure(target, Outcome.UNREADY, "answered 503"))
        another = _another(exchange, ask, failures)
        if another is None:
            if isinstance(head, Failure):
                raise _error(failures)
            break  # the instance's own 503 says best what is wrong
        exchange.report()
        exchange.budgeted, target = within_budget(failures), another
    exchange.head, exchange.status, exchange.events = head, head.status, head.events
    if head.status not in FAULTS and exchange.request.head.infers:
        state.answers(target)


def _show_key(exchange: Exchange) -> None:
    """Raises SvcError for a key that is missing, unknown or used up."""
    keys, head = exchange.state.keys, exchange.request.head
    assert keys is not None
    key = keys.identify(head.header(b"authorization"), head.header(b"x-api-key"))
    exchange.key = key.name
    key.admit(exchange.state.now)
    exchange.counted = key


def _asked(exchange: Exchange) -> Ask:
    """Return what the request asks for.

    Its body is decoded where it is compressed, and rewritten where an alias or a fallback stands for the model.
    """
    request = exchange.request
    if request.head.coding:
        request.body = decode(request.body, request.head.coding, exchange.state.settings.max_body)
    ask = parse(request)
    exchange.model = exchange.state.meant(ask.model)
    if exchange.model != ask.model:
        assert exchange.model is not None
        exchange.request = request = renamed(request, exchange.model)
        ask = msgspec.structs.replace(ask, model=exchange.model, body=request.body)
    return ask


def _another(exchange: Exchange, ask: Ask, failures: tuple[Failure, ...]) -> Target | None:
    """Return the instance to try next, None where the request is not to be repeated, or nowhere.

    Raises PoisonedRequest for one that kills what serves it.
    """
    state, head = exchange.state, exchange.request.head
    if kills(failures):
        raise _poisoned(exchange, ask, failures)
    if not may_repeat(failures, head.infers and not creates(head.target, ask.body)):
        return None
    if within_budget(failures) and not state.may_retry():
        return None
    failed = tuple(failure.target for failure in failures)
    other = state.pick_other(ask, failed)
    return _awaited(exchange, ask, failed) if other is None and failures[-1].outcome is Outcome.UNSENT else other


def _awaited(exchange: Exchange, ask: Ask, failed: tuple[Target, ...]) -> Target | None:
    """Return an instance that takes the request once the registry has noticed what became of those that refused it."""
    if exchange.awaited or all(target.static for target in failed):
        return None
    exchange.awaited = True
    exchange.report()
    return exchange.state.admit_again(ask, exchange.stay, failed)


def _poisoned(exchange: Exchange, ask: Ask, failures: tuple[Failure, ...]) -> PoisonedRequest:
    """Remembers a request that kills instances, and reports it."""
    state, killed = exchange.state, [failure.target.name for failure in failures if failure.died]
    state.poison.add(ask.body, state.now)
    state.poisoned[exchange.key] += 1
    request_id = exchange.request_id.decode("latin-1")
    by = f"request {request_id}" + (f" of key {exchange.key}" if exchange.key else "")
    for name in killed:
        others = ", ".join(other for other in killed if other != name)
        state.news.add("poisoned", name, f"it died while it served {by}, and so did {others}")
    return PoisonedRequest(f"{' and '.join(killed)} died while they served this request; it is not sent to another one")


def _error(failures: tuple[Failure, ...]) -> SvcError:
    """Return the error that says what happened to a request which no instance answered."""
    kind = GatewayTimeout if all(failure.timeout for failure in failures) else BadGateway
    unsent = all(failure.outcome is Outcome.UNSENT for failure in failures)
    return kind(f"{'cannot reach an instance' if unsent else 'no instance answered'}: {explanation(failures)}")


def _attempt(exchange: Exchange, target: Target, client_address: bytes) -> AnswerHead | Failure:
    """Return the head of the instance's answer, or how it failed.

    No exception: one that the frame it passes through still holds is a cycle, with the body in it.
    """
    state, request = exchange.state, exchange.request
    exchange.begin(target)
    message = request.outgoing(target.authority, client_address, exchange.request_id)
    head_only = request.head.method == b"HEAD"
    upstream = state.connections.take(target)
    reused = upstream is not None
    while True:
        try:
            if upstream is None:
                upstream = state.connections.connect(target)
            exchange.upstream = upstream
            if exchange.cut:
                raise exchange.cut_error()
            upstream.ask(message, head_only, bool(request.head.upgrade))
            return upstream.read_head()
        except UpstreamError as error:
            if upstream is None or not reused or exchange.cut or error.outcome is not Outcome.UNSENT:
                return _failure(exchange, error, target)
        upstream.close()  # it had been closed while idle: that is no failure of the instance
        exchange.upstream = upstream = None
        reused = False


def _failure(exchange: Exchange, error: UpstreamError, target: Target) -> Failure:
    """Return a failed attempt, and notes it for the instance; raises the error of a request that was cut."""
    if exchange.cut:
        raise exchange.cut_error()
    reason = str(error) or "it failed"  # some errors have no words
    exchange.failed = True
    exchange.blame(reason)
    if error.outcome is Outcome.UNSENT:
        exchange.faulty = reason  # whatever was asked for
    request_id = exchange.request_id.decode("latin-1")
    log.warning("%s %s: %s", request_id, target.name, reason, extra={"request_id": request_id})
    dead = error.outcome is Outcome.UNKNOWN and died(target)
    return Failure(target, error.outcome, reason, error.timeout, dead)
