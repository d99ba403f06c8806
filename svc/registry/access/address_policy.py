"""Check the addresses in a registration: its host, its URL, and the URLs in its metadata."""

import ipaddress
import socket
from collections.abc import Callable, Iterator, Sequence

from svc.base.errors import BadRequest
from svc.perimeter.hosts import Address, unmapped
from svc.perimeter.networks import LOOPBACK, AllowedNetworks, canonical
from svc.protocol.service import Service
from svc.protocol.service_url import is_service_url, parse_service_url

METADATA_URLS = ("health_url", "babysitter")  # metadata keys; the registry and routers send requests to these URLs


def resolved(host: str) -> list[Address]:
    """Return all addresses of `host`, which may itself be an address; raise OSError if it cannot be resolved."""
    entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [unmapped(ipaddress.ip_address(str(entry[4][0]).partition("%")[0])) for entry in entries]


class AddressPolicy:
    """Checks registrations against the `networks` that services may be in.

    If allowed_networks is set, host names are resolved too, so that a registration with a wrong name is refused. Each
    later connection to a service checks the address again (`networks.rejection_reason`).
    """

    def __init__(
        self, networks: AllowedNetworks | None = None, resolve: Callable[[str], Sequence[Address]] = resolved
    ) -> None:
        self.networks = networks or AllowedNetworks()
        self.resolve = resolve

    def check(self, service: Service, from_own_machine: bool) -> None:
        """Raise BadRequest if an address in the registration is wrong; the error lists every wrong address.

        `from_own_machine`: the registration came from the registry's own machine, so it may use loopback addresses.
        """
        if not is_service_url(service.url):  # stored by an older registry, which accepted more URLs
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
        """Yield the field and a message for each problem of the host and the URL.

        A loopback address is a problem if the registration came from another machine: for clients elsewhere it means
        their own machine. An address outside of the allowed networks is a problem, too.
        """
        fields_by_host = {canonical(parse_service_url(service.url).host): "url", canonical(service.host): "host"}
        for host, key in fields_by_host.items():
            if not from_own_machine and self.networks.is_local(host):
                yield key, f"{host} is another machine for everyone else; give the address that others reach it by"
            elif reason := self._rejection_reason(host):
                yield key, f"{reason}; give the address that others reach it by"

    def _metadata_problems(self, service: Service) -> Iterator[tuple[str, str]]:
        """Yield a problem for each metadata URL that is neither on the service's own host nor in an allowed network."""
        own = {canonical(service.host), canonical(parse_service_url(service.url).host)}
        for key in METADATA_URLS:
            url = service.metadata.get(key)
            try:
                host = canonical(parse_service_url(url).host) if isinstance(url, str) else ""
            except ValueError:
                continue  # not a URL: older babysitters send a description under this key
            is_elsewhere = bool(host) and host not in own
            if is_elsewhere and (not self.networks.allowed or host == LOOPBACK or self._rejection_reason(host)):
                yield "metadata", f"{key} must be on the service's own host, {service.host}, not {host}"

    def _rejection_reason(self, host: str) -> str:
        """Return why a service may not be on this host, or "" if it may.

        Without allowed_networks, a host name is not resolved here: its address is checked at each connection.
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
    """Yield a problem for each of the fields host, hostname and port that contradicts the URL."""
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
