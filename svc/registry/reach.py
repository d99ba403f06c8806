"""Where a service may be, so that routers are not sent to, and checks not made of, what nobody meant."""

import ipaddress
import socket
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import SplitResult, urlsplit

from svc.errors import BadRequest, ConfigError
from svc.instance import Service

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
HERE = "localhost"
ASKED = ("health_url", "babysitter")  # of the metadata: URLs that the registry and the routers ask


def networks(text: str) -> tuple[Network, ...]:
    """Of `10.0.0.0/8,192.168.7.1`; raises ConfigError."""
    try:
        return tuple(ipaddress.ip_network(part.strip(), strict=False) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise ConfigError(f"allowed_networks: {error}; give networks such as 10.0.0.0/8, separated by commas") from None


def resolved(host: str) -> list[Address]:
    """All addresses of a name, or the address itself; raises OSError."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [plain(ipaddress.ip_address(str(entry[4][0]).partition("%")[0])) for entry in found]


def plain(address: Address) -> Address:
    """An IPv4 address that is written as IPv6 is the IPv4 address."""
    return getattr(address, "ipv4_mapped", None) or address


def canonical(host: str) -> str:
    """One spelling for each host; everything that means this machine is HERE."""
    host = host.strip("[]").rstrip(".").lower()
    try:
        address = plain(ipaddress.ip_address(host))
    except ValueError:
        return HERE if host.endswith("." + HERE) else host
    return HERE if address.is_loopback else str(address)


class Reach:
    """`allowed`: the networks that services may be in; none are named: any. Names are looked up when they register."""

    def __init__(self, allowed: Sequence[Network] = (), resolve: Callable[[str], Sequence[Address]] = resolved) -> None:
        self.allowed = allowed
        self.resolve = resolve

    def check(self, service: Service, near: bool) -> None:
        """Raises BadRequest with all that is wrong; `near`: it is told from the registry's own machine."""
        problems = [*_misfits(service), *self._places(service, near), *self._asked(service)]
        if problems:
            params = dict.fromkeys(param for param, _ in problems)
            raise BadRequest("; ".join(f"{key}: {text}" for key, text in problems), param=",".join(params))

    def _places(self, service: Service, near: bool) -> Iterator[tuple[str, str]]:
        """Of its hosts: those that mean no machine, another machine than the sender's, or one that is not allowed."""
        told = {canonical(urlsplit(service.url).hostname or ""): "url", canonical(service.host): "host"}
        for host, key in told.items():
            if _is_no_place(host):
                yield key, f"{host} is no machine's address; give the one that others reach it by"
            elif host == HERE and not near:
                yield key, f"{HERE} is another machine for everyone else; give the address that others reach it by"
            elif reason := self._refused(host):
                yield key, reason

    def _asked(self, service: Service) -> Iterator[tuple[str, str]]:
        """URLs in the metadata are of the service's own host, or in a network that was allowed in so many words."""
        own = {canonical(service.host), canonical(urlsplit(service.url).hostname or "")}
        for key in ASKED:
            url = service.metadata.get(key)
            if not isinstance(url, str) or (key == "babysitter" and not url.startswith("http")):
                continue  # older babysitters say there what they are
            host = canonical(_split(url).hostname or "")
            if host not in own and (not self.allowed or host == HERE or self._refused(host)):
                yield "metadata", f"{key} must be on the service's own host, {service.host}, not {host or repr(url)}"

    def _refused(self, host: str) -> str:
        """Why not there; empty where it may be."""
        if not self.allowed:
            return ""
        try:
            addresses = self.resolve("127.0.0.1" if host == HERE else host)
        except (OSError, UnicodeError):
            return f"cannot resolve {host}; give an address, as allowed_networks wants to know where it is"
        outside = [a for a in addresses if not any(a in network for network in self.allowed)]
        if not outside and addresses:
            return ""
        named = ", ".join(map(str, self.allowed))
        return f"{host} is in no network of the registry's allowed_networks ({named}); register it by another address"


def _misfits(service: Service) -> Iterator[tuple[str, str]]:
    """host and port are those of the url."""
    parts = urlsplit(service.url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if canonical(parts.hostname or "") not in (canonical(service.host), canonical(service.hostname)):
        yield "url", f"its host must be that of host, {service.host}, not {parts.hostname}"
    if port != service.port:
        yield "url", f"its port must be that of port, {service.port}, not {port}"


def _is_no_place(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_unspecified or address.is_multicast or str(address) == "255.255.255.255"


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")
