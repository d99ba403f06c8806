"""Where a service may be, so that routers are not sent to, and checks not made of, what nobody meant."""

import ipaddress
import socket
from collections.abc import Callable, Iterator, Sequence

from svc.errors import BadRequest, ConfigError
from svc.instance import Service
from svc.networks import LOOPBACK, Address, Network, Networks, canonical, plain
from svc.service_url import is_service_url, parse_service_url

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


class Reach:
    """Judges registrations by the `networks` that services may be in.

    Where some are named, names are looked up here, too, so that a registration is refused at once. An address counts
    anew with each connection (`networks.refusal`).
    """

    def __init__(
        self, networks: Networks | None = None, resolve: Callable[[str], Sequence[Address]] = resolved
    ) -> None:
        self.networks = networks or Networks()
        self.resolve = resolve

    def check(self, service: Service, near: bool) -> None:
        """Raises BadRequest with all that is wrong; `near`: it is told from the registry's own machine."""
        if not is_service_url(service.url):  # of an older registry, which took more
            raise BadRequest(f"url: must be like http://HOST:PORT, not {service.url!r}; register it anew", param="url")
        problems = [*_misfits(service), *self._places(service, near), *self._asked(service)]
        if problems:
            params = dict.fromkeys(param for param, _ in problems)
            raise BadRequest("; ".join(f"{key}: {text}" for key, text in problems), param=",".join(params))

    def _places(self, service: Service, near: bool) -> Iterator[tuple[str, str]]:
        """Of its hosts: those that mean no machine, another machine than the sender's, or one that is not allowed."""
        told = {canonical(parse_service_url(service.url).host): "url", canonical(service.host): "host"}
        for host, key in told.items():
            if not near and self.networks.is_local(host):
                yield key, f"{host} is another machine for everyone else; give the address that others reach it by"
            elif reason := self._refused(host):
                yield key, f"{reason}; give the address that others reach it by"

    def _asked(self, service: Service) -> Iterator[tuple[str, str]]:
        """URLs in the metadata are of the service's own host, or in a network that was allowed in so many words."""
        own = {canonical(service.host), canonical(parse_service_url(service.url).host)}
        for key in ASKED:
            url = service.metadata.get(key)
            try:
                host = canonical(parse_service_url(url).host) if isinstance(url, str) else ""
            except ValueError:
                continue  # older babysitters say there what they are
            elsewhere = bool(host) and host not in own
            if elsewhere and (not self.networks.allowed or host == LOOPBACK or self._refused(host)):
                yield "metadata", f"{key} must be on the service's own host, {service.host}, not {host}"

    def _refused(self, host: str) -> str:
        """Return why not there; empty where it may be. A name that is not resolved is judged when it is asked."""
        if not self.networks.allowed:
            return self.networks.unfit(ipaddress.ip_address(host)) if _is_address(host) else ""
        try:
            addresses = self.resolve("127.0.0.1" if host == LOOPBACK else host)
        except (OSError, UnicodeError):
            return f"cannot resolve {host}; give an address, as allowed_networks wants to know where it is"
        reasons = [reason for address in addresses if (reason := self.networks.unfit(address))]
        return f"{host}: {reasons[0]}" if reasons else "" if addresses else f"{host} has no address"


def _misfits(service: Service) -> Iterator[tuple[str, str]]:
    """host and port are those of the url."""
    url = parse_service_url(service.url)
    if canonical(url.host) not in (canonical(service.host), canonical(service.hostname)):
        yield "url", f"its host must be that of host, {service.host}, not {url.host}"
    if url.port != service.port:
        yield "url", f"its port must be that of port, {service.port}, not {url.port}"


def _is_address(host: str) -> bool:
    try:
        return bool(ipaddress.ip_address(host))
    except ValueError:
        return False
