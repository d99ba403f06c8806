"""Answers `POST /route`: which instance the router would choose for a request, and why. It changes no state.

The body and the headers are those of the request in question; its path and method are in the query (`path`, `method`).
A process that relays answers the query, because each such process makes its own choices. So the query is read and
authorized like a relayed request, and its body may be as large.
"""

from typing import Any
from urllib.parse import parse_qs

import msgspec

from svc.base.errors import BadRequest, PoisonedRequest, SvcError, error_object
from svc.router.balance.explanation import InstanceChoice, explain, policy_name
from svc.router.balance.routing_request import RoutingRequest
from svc.router.balance.session_source import session_source
from svc.router.balance.unserved import UnknownModel
from svc.router.http.allowed_paths import is_own
from svc.router.http.request import Request, RequestHead
from svc.router.proxy.authorization import authorize, not_relayed
from svc.router.proxy.exchange import Exchange
from svc.router.proxy.restricted_models import refusal
from svc.router.proxy.routing_fields import read_unresolved, with_resolved_model
from svc.router.proxy.stored_objects import StoredObject

DEFAULT_PATH = "/v1/chat/completions"
MAX_SHOWN_SESSION_CHARS = 200
MAX_QUERY_FIELDS = 8


class RouteAnswer(msgspec.Struct):
    """The answer. `error`: the error that the request would get; None if it would get an instance, or wait for one."""

    method: str
    path: str
    requested_model: str | None = None
    model: str | None = None  # the model after aliases and fallbacks
    policy: str = ""
    session: str = ""
    session_source: str = ""  # the header or the field that names the session
    object_id: str = ""  # the object in the request; the instance that has it is the only choice
    instance: str | None = None
    waits: bool = False
    why: list[str] = []
    candidates: list[Any] = []
    error: dict[str, Any] | None = None


def answer_route_query(exchange: Exchange, peer: bytes) -> bytes:
    """Return the answer as JSON; raise SvcError for a query that is refused. The exchange ends without a record."""
    try:
        if not exchange.authorized:
            authorize(exchange, peer)
        head = _head_in_question(exchange.request.head)
        exchange.request = Request(head, exchange.request.take_body())
        route = RouteAnswer(head.method_text, head.uri_text)
        try:
            _complete(route, exchange)
        except SvcError as error:
            error = _for_client(error, exchange)
            route.error = {"status": error.status, **error_object(error)["error"]}
        return msgspec.json.encode(route) + b"\n"
    finally:
        _discard(exchange)


def _discard(exchange: Exchange) -> None:
    """End the exchange without a record: it counts in no statistics, and has no line in the access log."""
    exchange.closed = True
    if exchange.allocation is not None:
        exchange.allocation.shrink(0)


def _head_in_question(head: RequestHead) -> RequestHead:
    """Return the head of the request about which the query asks; raise BadRequest."""
    try:
        fields = parse_qs(head.uri_text.partition("?")[2], True, errors="strict", max_num_fields=MAX_QUERY_FIELDS)
    except ValueError:
        raise BadRequest("cannot read the query; send ?path=PATH&method=METHOD") from None
    if unknown := fields.keys() - {"path", "method"}:
        raise BadRequest(f"{sorted(unknown)[0]!r} is no field of the query; send ?path=PATH&method=METHOD")
    path, method = fields.get("path", [DEFAULT_PATH])[-1], fields.get("method", ["POST"])[-1]
    if not (path.startswith("/") and path.isascii() and path.isprintable() and " " not in path):
        raise BadRequest(f"{path!r} is no path; send one such as {DEFAULT_PATH}", param="path")
    if not (method.isascii() and method.isalpha()):
        raise BadRequest(f"{method!r} is no method; send one such as POST", param="method")
    special = {**head.special, b"content-length": b""} if head.has_body else head.special
    uri = path.encode()
    return RequestHead(method.upper().encode(), uri, head.headers, special, head.http10, head.keep_alive, head.rules)


def _complete(route: RouteAnswer, exchange: Exchange) -> None:
    """Set what the router would do with the request; raise the SvcError that the request would get."""
    state, head = exchange.state, exchange.request.head
    if is_own(head.method, head.uri):
        route.why = ["the router answers this request itself"]
        return
    if not head.passes and state.keys is None:
        raise not_relayed(head, keyed=False)
    routing = read_unresolved(exchange)
    route.requested_model = routing.model
    routing = with_resolved_model(exchange, routing)
    route.model = routing.model
    route.session = routing.session.decode("utf-8", "replace")[:MAX_SHOWN_SESSION_CHARS]
    route.session_source = session_source(exchange.request, routing.session)
    if state.poison.contains(routing.body, state.now):
        raise PoisonedRequest("this request killed two instances before; it is not sent to another one")
    stored = StoredObject(exchange, routing, touch=False) if head.object_path is not None else None
    choice = explain(state.balancer, state.settings, routing)
    route.candidates = list(choice.candidates)
    if stored is not None and stored.owner is not None:
        route.object_id, route.instance = stored.object_id, stored.owner.name
        route.why = [f"{stored.object_id} is at {stored.owner.name}, and no other instance has it"]
        return
    if stored is not None and stored.object_ids:
        route.why = [_without_owner(stored)]
    _apply(route, choice, routing, exchange)


def _without_owner(stored: StoredObject) -> str:
    """Return why no instance is preferred for a request that names an object."""
    if stored.object_id:
        return f"the instance that has {stored.object_id} does not run, or does not have the model: any instance"
    return f"no instance is known to have {' or '.join(stored.object_ids)}: any instance"


def _apply(route: RouteAnswer, choice: InstanceChoice, routing: RoutingRequest, exchange: Exchange) -> None:
    route.policy = policy_name(exchange.state.settings, routing.model)
    route.instance, route.waits, route.why = choice.instance, choice.waits, [*route.why, *choice.why]
    if choice.instance is None and not choice.waits:
        raise exchange.state.balancer.unserved_error(routing.model)


def _for_client(error: SvcError, exchange: Exchange) -> SvcError:
    """Return the error with which the router would answer."""
    return refusal(exchange, error) if isinstance(error, UnknownModel) else error
