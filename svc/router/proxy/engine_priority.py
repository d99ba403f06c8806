"""Passes the priority of an account on to the engine, as vLLM's field `priority`, with the setting `pass_priority`.

The field is added at the end of the body. If the client has sent a `priority` too, the added one counts: engines read
the last of several members with the same name. The rest of the body stays as it is, in UTF-8.
"""

import time

import msgspec

from svc.router.balance.account import Account
from svc.router.balance.routing_request import RoutingRequest
from svc.router.http.json_body import utf8
from svc.router.http.request import Media, Request
from svc.router.proxy.body_buffers import LARGE_BYTES
from svc.router.proxy.exchange import Exchange


def pass_priority(exchange: Exchange, account: Account, routing: RoutingRequest) -> RoutingRequest:
    """Return the request with the priority of its account; rewrite its body."""
    request = exchange.request
    head, body = request.head, request.body
    if not head.is_inference or head.is_anthropic or head.media is not Media.JSON:
        return routing
    if len(body) > LARGE_BYTES:  # the copy takes milliseconds: other connections have their turn before it
        time.sleep(0)
    changed = with_priority(body, -account.priority)
    exchange.request = Request(head, changed)
    request.body = b""  # frees the old body: the connection keeps the old request
    is_shifted = len(body) > LARGE_BYTES or utf8(body) is not body  # then the positions in `routing.json` are wrong
    return msgspec.structs.replace(routing, body=changed, json=None if is_shifted else routing.json)


def with_priority(body: bytes, value: int) -> bytes:
    """Return a JSON object with this `priority` (the lowest is served first); return any other body as it is."""
    text = utf8(body).rstrip()
    if not text.lstrip().startswith(b"{") or not text.endswith(b"}"):
        return body
    fields = text[:-1].rstrip()
    comma = b"" if fields.endswith(b"{") else b","
    return b'%b%b"priority":%d}' % (fields, comma, value)
