"""Check the addresses in a registration: its host, its URL, and the URLs in its metadata."""

import ipaddress
import socket
from collections.abc import Callable, Iterator, Sequence

from svc.base.errors import BadRequest
from svc.perimeter.hosts import Address, unmapped
from svc.perimeter.networks import LOOPBACK, AllowedNetworks, canonical
from svc.protocol.service import Service
from svc.protocol.service_url import is_service_url, parse_service_url

METADATA_URLS = ("health_url", "babysitter")  # metadata keys whose URLs the registry and the routers send requests to


def resolved(host: str) -> list[Address]:
    """Return all addresses of a host name, or the address itself; raise OSError."""
    entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [unmapped(ipaddress.ip_address(str(entry[4][0]).partition("%")[0])) for entry in entries]


class AddressPolicy:
    """Checks registrations against the `networks` that services may be in.

    If allowed_networks is set, host names are resolved too, so that a registration is refused at once. Each connection
    to a service checks its address again (`networks.rejection_reason`).
    """

    def __init__(
        self, networks: AllowedNetworks | None = None, resolve: Callable[[str], Sequence[Address]] = resolved
    ) -> None:
        self.networks = networks or AllowedNetworks()
        self.resolve = resolve

    def check(self, service: Service, from_own_machine: bool) -> None:
        """Raise BadRequest that names every wrong address.

        `from_own_machine`: the registry's own machine sent the registration.
        """
        if not is_service_url(service.url):  # from an older registry, which accepted more
            raise BadRequest(f"url: must be like http://HOST:PORT, not {service.url!r}; register it anew", param="url")
        problems = [
            *_mismatches(service),
            *self._host_problems(service, from_own_machine),
            *self._metadata_problems(service),
        ]
        if problems:
            params = dict.fromkeys(param for param, _ in problems)
            raise BadRequest("; ".join(f"{key}: {text}" for key, text in problems), param=",".join(params))

    def _host_problems(self, service: Service, from_own_machine: bool) -> Iterator[tuple[str, str]]:
        """Yield the problems of the host and the URL: loopback, which is another machine elsewhere, and networks.

        Each problem is a field and a message.
        """
        fields_by_host = {canonical(parse_service_url(service.url).host): "url", canonical(service.host): "host"}
        for host, key in fields_by_host.items():
            if not from_own_machine and self.networks.is_local(host):
                yield key, f"{host} is another machine for everyone else; give the address that others reach it by"
            elif reason := self._rejection_reason(host):
                yield key, f"{reason}; give the address that others reach it by"

    def _metadata_problems(self, service: Service) -> Iterator[tuple[str, str]]:
        """Yield the metadata URLs that are neither on the service's own host nor in one of the allowed_networks."""
        own = {canonical(service.host), canonical(parse_service_url(service.url).host)}
        for key in METADATA_URLS:
            url = service.metadata.get(key)
            try:
                host = canonical(parse_service_url(url).host) if isinstance(url, str) else ""
            except ValueError:
                continue  # a description, which older babysitters send here
            is_elsewhere = bool(host) and host not in own
            if is_elsewhere and (not self.networks.allowed or host == LOOPBACK or self._rejection_reason(host)):
                yield "metadata", f"{key} must be on the service's own host, {service.host}, not {host}"

    def _rejection_reason(self, host: str) -> str:
        """Return why a service may not be on this host, else "".

        Without allowed_networks a name is not resolved here: its address is checked at each connection.
        """
        if not self.networks.allowed:
            return self.networks.address_rejection(ipaddress.ip_address(host)) if _is_address(host) else ""
        try:
            addresses = self.resolve("127.0.0.1" if host == LOOPBACK else host)
        except (OSError, UnicodeError):
            return f"cannot resolve {host}; give an address, as allowed_networks is set and requires one"
        if not addresses:
            return f"{host} has no address"
        reasons = (self.networks.address_rejection(address) for address in addresses)
        return next((f"{host}: {reason}" for reason in reasons if reason), "")


def _mismatches(service: Service) -> Iterator[tuple[str, str]]:
    """Yield the fields in which the URL differs from host, hostname and port."""
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
