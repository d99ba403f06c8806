"""Find the address under which to register an instance whose `host` is a wildcard address, such as 0.0.0.0."""

import contextlib
import socket
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from svc.base.address import is_loopback, is_wildcard
from svc.protocol.service_url import DEFAULT_PORTS

LOOPBACK = "localhost"


class RegistrationHost:
    """The host in the registration: the configured one or, for a wildcard, this machine's address towards the registry.

    Only `refresh` changes `value`. It is called again and again, because the address may be unknown until the network
    is up.
    """

    def __init__(
        self, host: str, registry_urls: Sequence[str], find: Callable[[str, int, bool], str] | None = None
    ) -> None:
        self._is_wildcard = is_wildcard(host)
        self._accepts_ipv6 = ":" in host
        self._registry_urls = registry_urls
        self._find = find or source_address
        self.value = LOOPBACK if self._is_wildcard else host

    def refresh(self) -> None:
        """Find the address again. If there is no route to any registry, keep the previous address."""
        if self._is_wildcard:
            self.value = next(filter(None, map(self._towards, self._registry_urls)), self.value)

    def _towards(self, url: str) -> str:
        """Return this machine's address towards a registry, LOOPBACK for a registry on this machine, or ""."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        if is_loopback(host):
            return LOOPBACK
        with contextlib.suppress(OSError, UnicodeError):  # UnicodeError: the text cannot be a DNS name
            address = self._find(host, parts.port or DEFAULT_PORTS.get(parts.scheme, 80), self._accepts_ipv6)
            return LOOPBACK if is_loopback(address) else address
        return ""


def source_address(host: str, port: int, accepts_ipv6: bool) -> str:
    """Return the address from which this machine would connect to `host`; raise OSError if there is none.

    Connecting a UDP socket chooses a route and sends nothing.
    """
    family = socket.AF_UNSPEC if accepts_ipv6 else socket.AF_INET
    family, _, _, _, address = socket.getaddrinfo(host, port, family, socket.SOCK_DGRAM)[0]
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect(address)
        return str(probe.getsockname()[0]).partition("%")[0]
