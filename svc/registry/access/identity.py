"""Who sent a request: the address, as far as it proves anything, and what the secrets in the headers prove."""

from collections.abc import Callable
from typing import NamedTuple

from svc.perimeter.browsers import Headers
from svc.perimeter.hosts import address_of
from svc.perimeter.local_machine import is_own_address
from svc.registry.leases import owner

UNKNOWN_ADDRESS = "unknown"
# A proxy on this machine adds at least one of these. Nothing of ours sends one for a client of this machine.
PROXY_HEADERS = frozenset(
    (
        "forwarded",
        "via",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-server",
        "x-forwarded-by",
        "x-real-ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "true-client-ip",
        "cf-connecting-ip",
        "fastly-client-ip",
    )
)


class Client(NamedTuple):
    """The sender of one request."""

    address: str  # of the peer, which is the proxy's where is_forwarded
    is_local: bool  # connected over loopback, and not is_forwarded
    is_forwarded: bool  # by a proxy, or by a browser for a page on a rebound name: the address proves nothing
    is_operator: bool  # showed the write token
    secret_digest: str  # of X-Service-Secret; owner.NOBODY without one

    @property
    def caller(self) -> owner.Caller:
        """Return whose services it may change: a secret counts even beside the token, which babysitters have, too."""
        return owner.OPERATOR if self.is_operator and not self.secret_digest else self.secret_digest

    @property
    def may_see_details(self) -> bool:
        """Return whether an answer may name paths and addresses of the registry's machine."""
        return self.is_local or self.is_operator

    @property
    def source_address(self) -> str:
        """Return where its events come from: a proxy does not prove for whom it sends."""
        return f"proxy-{self.address}" if self.is_forwarded else self.address

    @property
    def is_on_own_machine(self) -> bool:
        """Return whether it connects from the registry's machine, over loopback or from another of its addresses."""
        return not self.is_forwarded and is_own_address(self.address)


def identify(
    peer: str | None,
    headers: Headers,
    knows_host: Callable[[str], bool] = lambda host: True,
    is_operator: Callable[[str], bool] = lambda authorization: False,
) -> Client:
    """Return the sender of a request; `knows_host`: whether a Host is the server's own."""
    host = headers.get("host")
    is_rebound = host is not None and not knows_host(host)
    is_forwarded = is_rebound or any(headers.get(name) is not None for name in PROXY_HEADERS)
    address = address_of(peer or "")
    return Client(
        address=peer or UNKNOWN_ADDRESS,
        is_local=address is not None and address.is_loopback and not is_forwarded,
        is_forwarded=is_forwarded,
        is_operator=is_operator(headers.get("authorization") or ""),
        secret_digest=owner.digest(headers.get("x-service-secret") or ""),
    )
