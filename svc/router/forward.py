"""A request's story: ask, pick, send, and the head of an answer; `exchange` has the rest of it.

Up to three instances are tried, only while nothing has been passed on, and only
after a failure that means the request was not processed: refused, no connection
in time, closed before the first byte, or the instance's own 503.
"""

import logging
from collections.abc import Callable
from functools import partial

import msgspec

from svc.errors import BadGateway, GatewayTimeout, SvcError, Unavailable
from svc.router.answer import AnswerHead, UpstreamError
from svc.router.ask import Ask, parse
from svc.router.exchange import FAULTS, Exchange
from svc.router.names import renamed
from svc.router.table import Target

log = logging.getLogger(__name__)

ATTEMPTS = 3


def forward(exchange: Exchange, client_address: bytes) -> None:
    """Gets an instance to answer, and the head of its answer.

    Raises SvcError when none does, ClientGone when there is nobody to answer;
    nothing is left to close then.
    """
    try:
        _open(exchange, client_address)
    except SvcError as error:
        exchange.status = error.status
        exchange.end = exchange.cut or ("failed" if exchange.attempts else "refused")
        exchange.close()
        raise
    except BaseException:
        exchange.close()
        raise


def _open(exchange: Exchange, client_address: bytes) -> None:
    """Gets an instance to answer; raises SvcError, or ClientGone."""
    state = exchange.state
    if state.keys is not None:
        _show_key(exchange)
    ask = _asked(exchange)
    tried: tuple[str, ...] = ()
    target = state.admit(ask, exchange.stay)
    while True:
        exchange.attempts += 1
        # Not raised yet: an exception that the frame it passes through still holds is a cycle, with the body in it.
        failure: Callable[[], SvcError] | None = None
        try:
            head = _attempt(exchange, target, client_address)
        except UpstreamError as error:
            failure = _failure(exchange, error, target)
            if error.processed:
                raise failure() from None
        if failure is None and head.status != 503:
            break
        tried = (*tried, target.name)
        another = _another(exchange, ask, tried)
        if another is None:
            if failure is not None:
                raise failure()
            break  # the instance's own 503 says best what is wrong
        exchange.report()
        exchange.retry, target = True, another
    exchange.head, exchange.status, exchange.events = head, head.status, head.events
    if head.status not in FAULTS:
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
    """What the request asks for; its body rewritten where an alias or a fallback stands for the model."""
    ask = parse(exchange.request)
    exchange.model = exchange.state.meant(ask.model)
    if exchange.model != ask.model:
        assert ask.model is not None
        assert exchange.model is not None
        exchange.request.body = renamed(ask.body, ask.model, exchange.model)
        ask = msgspec.structs.replace(ask, model=exchange.model, body=exchange.request.body)
    return ask


def _another(exchange: Exchange, ask: Ask, tried: tuple[str, ...]) -> Target | None:
    if len(tried) >= ATTEMPTS or not exchange.state.may_retry():
        return None
    try:
        return exchange.state.pick(ask, tried)
    except Unavailable:
        return None


def _attempt(exchange: Exchange, target: Target, client_address: bytes) -> AnswerHead:
    state = exchange.state
    exchange.begin(target)
    request = exchange.request
    message = request.outgoing(target.authority, client_address, exchange.request_id)
    head_only = request.head.method == b"HEAD"
    upstream = state.connections.take(target, state.now)
    while True:
        fresh = upstream is None
        if upstream is None:
            upstream = state.connections.connect(target)
        exchange.upstream = upstream
        if exchange.cut:
            raise exchange.cut_error()
        upstream.ask(message, head_only)
        try:
            return upstream.read_head()
        except UpstreamError:
            if exchange.cut or fresh or not upstream.untouched:
                raise
        upstream.close()  # it had been closed while idle: that is nobody's failure
        exchange.upstream = upstream = None


def _failure(exchange: Exchange, error: UpstreamError, target: Target) -> Callable[[], SvcError]:
    """What makes the error to tell; raises it where the request was cut."""
    if exchange.cut:
        raise exchange.cut_error()
    exchange.failed, exchange.faulty = True, str(error) or "it failed"  # some errors have no words
    request_id = exchange.request_id.decode("latin-1")
    log.warning("%s %s: %s", request_id, target.name, error, extra={"request_id": request_id})
    kind = GatewayTimeout if error.timeout else BadGateway
    return partial(kind, f"cannot reach an instance: {target.name}: {error}")
