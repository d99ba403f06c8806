"""Decide which addresses the registry and the routers may connect to for a registered service.

A name may resolve to a different address with each DNS query. So the address is checked when a connection is made,
and the connection goes to the checked address (`dial`).
"""

import ipaddress
from collections.abc import Callable, Collection, Sequence

from svc.base.address import IPV6_LOOPBACK_NAMES
from svc.base.errors import ConfigError
from svc.perimeter.hosts import Address, is_host_address, unmapped
from svc.perimeter.local_machine import is_own_address, loopback_names

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
LOOPBACK = "localhost"  # the canonical form of all loopback names and addresses
EXPLICIT_PREFIXES = {4: 24, 6: 64}  # IP version -> length of the shortest prefix that allows a metadata service
# Metadata services of cloud providers: a server that fetches from one can leak the machine's credentials.
METADATA_SERVICES = frozenset(
    map(
        ipaddress.ip_address,
        (
            "169.254.169.254",  # AWS, Azure, Google, OpenStack and others
            "169.254.169.253",  # AWS: its DNS
            "169.254.170.2",  # AWS: credentials of containers
            "169.254.170.23",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",  # Google
            "168.63.129.16",  # Azure
            "100.100.100.200",  # Alibaba
            "192.0.0.192",  # Oracle
            "169.254.42.42",  # Scaleway
            "169.254.0.23",  # Tencent
        ),
    )
)


def parse_networks(text: str, setting: str) -> tuple[Network, ...]:
    """Return the networks in a text such as `10.0.0.0/8,192.168.7.1`.

    Raise ConfigError if the text is invalid; the message begins with the name of the setting, `setting`.
    """
    try:
        return tuple(ipaddress.ip_network(part.strip(), strict=False) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise ConfigError(f"{setting}: {error}; give networks such as 10.0.0.0/8, separated by commas") from None


def canonical(host: str) -> str:
    """Return a host in a form that can be compared with other hosts; LOOPBACK for every loopback host."""
    host = host.strip("[]").rstrip(".").lower()
    try:
        address = unmapped(ipaddress.ip_address(host))
    except ValueError:
        return LOOPBACK if host in IPV6_LOOPBACK_NAMES or host.endswith("." + LOOPBACK) else host
    return LOOPBACK if address.is_loopback else str(address)


class AllowedNetworks:
    """Decides to which addresses connections are allowed.

    `allowed` are the networks that services may be in; if it is empty, every network is allowed. `own` is the address
    and port on which the program itself listens. `names` returns the names that /etc/hosts has for loopback.
    """

    def __init__(
        self,
        allowed: Sequence[Network] = (),
        own: tuple[str, int] | None = None,
        names: Callable[[], Collection[str]] = loopback_names,
    ) -> None:
        self.allowed = allowed
        self._own = (unmapped(ipaddress.ip_address(own[0])), own[1]) if own else None
        self._names = names

    def rejection_reason(self, host: str, address: str, port: int) -> str:
        """Return why a connection to `host` at its current `address` is not allowed, or "" if it is."""
        resolved = unmapped(ipaddress.ip_address(address.partition("%")[0]))
        if self._is_own(resolved, port):
            return "it is this server itself"
        if reason := self.address_rejection(resolved):
            return f"{host}: {reason}"
        if resolved.is_loopback and not self.is_local(host):
            return f"{host}: it resolves to {resolved}, which is this machine itself; only its /etc/hosts may say that"
        return ""

    def address_rejection(self, address: Address) -> str:
        """Return why a service may not have this address, or "" if it may."""
        if not is_host_address(address):
            return f"{address} is not a host address"
        if self.allowed and not any(address in network for network in self.allowed):
            networks = ", ".join(map(str, self.allowed))
            return f"{address} is in no network of the registry's allowed_networks ({networks})"
        if address in METADATA_SERVICES and not self._is_explicitly_allowed(address):
            return (
                f"{address} is a cloud's metadata service; if it is not, add its network to the registry's "
                f"allowed_networks, as a /{EXPLICIT_PREFIXES[address.version]} or narrower"
            )
        return ""

    def _is_explicitly_allowed(self, address: Address) -> bool:
        """Return whether an allowed network contains the address and is narrow enough to be meant for it."""
        explicit = (network for network in self.allowed if network.prefixlen >= EXPLICIT_PREFIXES[network.version])
        return any(address in network for network in explicit)

    def is_local(self, host: str) -> bool:
        """Return whether `host` is a loopback name or address, or a name that /etc/hosts has for loopback."""
        spelling = canonical(host)
        return spelling == LOOPBACK or spelling in self._names()

    def _is_own(self, address: Address, port: int) -> bool:
        if self._own is None or port != self._own[1]:
            return False
        return is_own_address(str(address)) if self._own[0].is_unspecified else address == self._own[0]
