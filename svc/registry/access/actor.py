"""Name the actor of an operator's action, for the audit. Pure.

The actor of a request from the registry's machine is the system user that the request names. Such a request needs no
token, and a command may send one of the registry's tokens, so a token would not show who acts. The actor of a request
from another machine, or through a proxy, is the name of its write token, because anything else in the request may be
false.
"""

import re

from svc.perimeter.browsers import Headers
from svc.perimeter.hosts import address_of
from svc.protocol.event import LOCAL_PROGRAM, OPERATOR_USER_HEADER, UNVERIFIED, Actor
from svc.registry.access.identity import Client

MAX_USER_LENGTH = 64
UNUSUAL_CHARACTERS = re.compile(r"[^A-Za-z0-9_.-]")


def actor_of(client: Client, headers: Headers, trusts_loopback: bool) -> Actor:
    """Return the actor of a request. `trusts_loopback` is False if loopback_needs_token is set."""
    user = UNUSUAL_CHARACTERS.sub("_", headers.get(OPERATOR_USER_HEADER.lower()) or "")[:MAX_USER_LENGTH]
    claim = f"user:{user}" if user else ""
    address = _address(client, headers)
    if client.is_local and trusts_loopback:
        return Actor(claim or client.operator or LOCAL_PROGRAM, address)
    if client.operator:
        return Actor(client.operator, address)
    return Actor(f"{UNVERIFIED}@{client.source_address}", address, claim)


def _address(client: Client, headers: Headers) -> str:
    """Return the client's address; for a request through a proxy, the address that the proxy reports and its own."""
    if not client.is_forwarded:
        return client.address
    reported = (headers.get("x-forwarded-for") or "").rpartition(",")[2].strip()
    return f"{reported} via {client.address}" if address_of(reported) else f"proxy {client.address}"
