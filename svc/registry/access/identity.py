"""Identify the client of a request.

Determine the client's address, whether the address can be trusted, which write token the client sent, and the digest of
its secret."""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from svc.perimeter.browsers import Headers
from svc.perimeter.hosts import address_of
from svc.perimeter.local_machine import is_own_address
from svc.perimeter.proxy_headers import names_proxy
from svc.registry.leases import owner

UNKNOWN_ADDRESS = "unknown"
MAX_CACHED_ADDRESSES = 1024


class Client(NamedTuple):
    """The sender of one request."""

    address: str  # the address of the TCP peer: the proxy's if is_forwarded, else the client's own
    is_local: bool  # whether the client connected over loopback; False if is_forwarded
    is_forwarded: bool  # sent by a proxy, or by a web page through DNS rebinding: the address identifies no client
    operator: str  # the name of the write token that the client sent; "" without a write token
    secret_digest: str  # digest of the header X-Service-Secret; owner.ANONYMOUS without this header

    @property
    def is_operator(self) -> bool:
        return bool(self.operator)

    @property
    def caller(self) -> owner.Caller:
        """Return the identity of the client for `owner.check`.

        This is its secret's digest even if the client also sends the token, because every babysitter has the token.
        """
        return owner.OPERATOR if self.is_operator and not self.secret_digest else self.secret_digest

    @property
    def may_see_details(self) -> bool:
        """Return whether a response to this client may contain paths and addresses of the registry's machine."""
        return self.is_local or self.is_operator

    @property
    def source_address(self) -> str:
        """Return the address to add to the source of the client's events.

        This is the client's address, or `proxy-` and the proxy's address.
        """
        return f"proxy-{self.address}" if self.is_forwarded else self.address

    @property
    def is_on_own_machine(self) -> bool:
        """Return whether the client runs on the registry's machine: it connects from an address of this machine."""
        return not self.is_forwarded and is_own_address(self.address)


def identify(
    peer: str | None,
    headers: Headers,
    knows_host: Callable[[str], bool] = lambda host: True,
    operator: Callable[[str], str] = lambda authorization: "",
) -> Client:
    """Return the client of a request.

    `knows_host` returns whether a Host header refers to this server. `operator` returns the name of the write token in
    an Authorization header, or "".
    """
    host = headers.get("host")
    is_rebound = host is not None and not knows_host(host)
    is_forwarded = is_rebound or names_proxy(headers)
    return Client(
        address=peer or UNKNOWN_ADDRESS,
        is_local=_is_loopback(peer or "") and not is_forwarded,
        is_forwarded=is_forwarded,
        operator=operator(headers.get("authorization") or ""),
        secret_digest=owner.digest(headers.get("x-service-secret") or ""),
    )


@lru_cache(MAX_CACHED_ADDRESSES)
def _is_loopback(peer: str) -> bool:
    address = address_of(peer)
    return address is not None and address.is_loopback
