"""Reads from a request what routing needs: decodes its body, finds its model and session, and applies aliases."""

import time

import msgspec

from svc.router.balance.model_aliases import with_model
from svc.router.balance.routing_request import RoutingRequest, parse
from svc.router.http.content_coding import decode
from svc.router.proxy.body_buffers import LARGE_BYTES
from svc.router.proxy.exchange import Exchange
from svc.router.proxy.restricted_models import check_model


def read_routing_request(exchange: Exchange) -> RoutingRequest:
    """Return the request's model and session.

    Decode a compressed body first. If the model is an alias, or a fallback replaces it, rewrite the request. Raise
    SvcError if the client's key may not use the model.
    """
    routing = read_unresolved(exchange)
    if exchange.restricted_key is not None:
        check_model(exchange, exchange.restricted_key, routing)
    return with_resolved_model(exchange, routing)


def read_unresolved(exchange: Exchange) -> RoutingRequest:
    """Decode the request's body if it is compressed. Return the request with the model that the client has named."""
    request = exchange.request
    if request.head.coding and request.body:
        _decode_body(exchange)
    if len(request.body) > LARGE_BYTES:  # parsing takes milliseconds: other connections have their turn before it
        time.sleep(0)
    return parse(request)


def with_resolved_model(exchange: Exchange, routing: RoutingRequest) -> RoutingRequest:
    """Return the request with the model to route to. If that is another one, rewrite the body."""
    request = exchange.request
    exchange.model = exchange.state.balancer.resolve_model(routing.model)
    if exchange.model != routing.model:
        assert exchange.model is not None
        if len(request.body) > LARGE_BYTES:
            time.sleep(0)
        exchange.request = with_model(request, exchange.model)
        request.body, request = b"", exchange.request  # frees the old body: the connection keeps the old request
        routing = msgspec.structs.replace(routing, model=exchange.model, body=request.body, json=None)
    return routing


def _decode_body(exchange: Exchange) -> None:
    """Decode the request's compressed body, and allocate memory for it as it grows; raise SvcError."""
    state, request = exchange.state, exchange.request

    def allocate(size: int) -> None:
        exchange.allocate(size, state.now + state.settings.queue_timeout, exchange.on_wait)

    request.body = decode(request.take_body(), request.head.coding, state.max_body, allocate)
    if exchange.allocation is not None:
        exchange.allocation.shrink(len(request.body))
