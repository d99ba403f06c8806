"""Relays requests under a WSGI server other than the router's own: with the same `forward`, and bodies over WSGI."""

from collections.abc import Iterator

from flask import Response, request

from svc.base.errors import SvcError, TooLarge
from svc.router.http.error_dialect import error_body
from svc.router.http.request import Request
from svc.router.proxy.authorization import authorize
from svc.router.proxy.body_buffers import DISCARD_LIMIT_BODIES
from svc.router.proxy.exchange import Exchange
from svc.router.proxy.exchange_report import count_running_stream
from svc.router.proxy.forward import close_unanswered, forward
from svc.router.proxy.response_breaks import ClientGone, TruncatedResponse
from svc.router.proxy.route_query import answer_route_query
from svc.router.proxy.trusted_proxies import client_of, peer_address
from svc.router.state import RouterState
from svc.router.wsgi import body_of, declared_size, discard_body, head_of


class OpenExchanges:
    """The exchanges in progress under another WSGI server, where the router's worker cannot enforce their deadlines."""

    def __init__(self, state: RouterState) -> None:
        self._state = state
        self._open: set[Exchange] = set()

    def add(self, exchange: Exchange) -> None:
        self._open.add(exchange)

    def sweep(self) -> None:
        """Interrupt exchanges whose deadline has passed, and do the state's periodic work. Call this every second."""
        state = self._state
        state.now = state.clock()
        for exchange in list(self._open):
            if exchange.closed:
                self._open.discard(exchange)
            elif exchange.deadline < state.now:
                exchange.interrupt("timeout")
            else:
                count_running_stream(exchange)
        state.sweep()
        state.upstream_pool.prune(state.now)


def relay(state: RouterState, open_exchanges: OpenExchanges) -> Response:
    """Relay Flask's current request; return the response of an instance, or an error response."""
    head = head_of(request.environ, state.head_cache.not_passed, state.head_cache.rules)
    peer = peer_address(request.remote_addr or "")
    client = client_of(peer, head.header(b"x-forwarded-for"), state.trusted)
    exchange = Exchange(state, Request(head, b""), client)
    open_exchanges.add(exchange)
    try:
        read_body(exchange)
        if head.asks_route:
            response = Response(answer_route_query(exchange, peer.encode()), mimetype="application/json")
        else:
            forward(exchange, peer.encode())
            exchange.drop_body()
            response = _response(exchange)
    except SvcError as error:
        payload = error_body(error, head.uri)
        response = Response(payload, error.status, error.headers(), mimetype="application/json")
    response.headers["x-request-id"] = exchange.request_id.decode("latin-1")
    return response


def read_body(exchange: Exchange) -> None:
    """Authorize the request and read its body within limits; on failure, close the exchange and raise SvcError."""
    try:
        authorize(exchange, (peer_address(request.remote_addr or "")).encode())
        body = _body(exchange.state, exchange)
    except SvcError as error:
        discard_body(request.environ, DISCARD_LIMIT_BODIES * exchange.state.max_body)
        close_unanswered(exchange, error)
        raise
    exchange.body_arrived(Request(exchange.request.head, body))


def _body(state: RouterState, exchange: Exchange) -> bytes:
    declared, limit = declared_size(request.environ) or 0, state.max_body
    deadline = state.now + state.settings.queue_timeout
    body = b""
    if declared <= limit:
        exchange.allocate(declared, deadline, exchange.on_wait)
        body = body_of(request.environ, limit)
        exchange.allocate(len(body), deadline, exchange.on_wait)
    if max(declared, len(body)) > limit:
        raise TooLarge(f"the request's body is over {limit} bytes")
    return body


def _response(exchange: Exchange) -> Response:
    upstream, head = exchange.upstream, exchange.head
    assert upstream is not None
    assert head is not None
    response = Response(ResponseBody(exchange), status=f"{head.status} {head.reason.decode('latin-1')}")
    response.headers.clear()
    for name, value in head.headers:
        response.headers.add(name.decode("latin-1"), value.decode("latin-1"))
    if upstream.length is not None:
        response.headers["Content-Length"] = str(upstream.length)
    if exchange.limits is not None and exchange.limits.is_limited:
        for own in [key for key, _ in response.headers if key.lower().startswith("x-ratelimit-")]:
            del response.headers[own]  # sent by the instance: the limits of the client's key replace it
        response.headers.extend(exchange.limits.headers(exchange.state.clock()))
    if b"x-served-by" in exchange.request.head.special:
        response.headers["X-Served-By"] = upstream.target.name
    if head.events:
        response.headers["X-Accel-Buffering"] = "no"
    return response


class ResponseBody:
    """The body of a response, as an iterator. The WSGI server always closes the iterator, even without reading it."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        head = self._exchange.head
        if head is not None and (head.bodiless or self._exchange.request.head.method == b"HEAD"):
            raise StopIteration
        try:
            data = self._exchange.read()
        except (TruncatedResponse, ClientGone) as error:
            raise ConnectionError(f"the answer is not whole: {error}") from None
        if not data:
            raise StopIteration
        return data

    def close(self) -> None:
        self._exchange.close()
