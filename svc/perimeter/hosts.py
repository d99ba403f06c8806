"""Check the Host header of requests, as a protection against DNS rebinding. Pure.

After a web page from evil.example is loaded, its DNS can change that name to 127.0.0.1. The browser then mistakes a
server on this machine for the page's own server, so the page may read from it and write to it. But the page cannot
change the Host header, which still says evil.example.
"""

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

ANY = "*"  # an allowed host that turns the check off
MAX_CACHED_HOSTS = 256
BROADCAST = ip_address("255.255.255.255")
NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?")
AUTHORITY = re.compile(r"(\[[^\[\]]*\]|[^\[\]:]*)(?::([0-9]{1,5})?)?")

Address = IPv4Address | IPv6Address


def split_authority(authority: str) -> tuple[str, int | None]:
    """Return the host and the port in `HOST[:PORT]`; the host is "" if the text is malformed.

    The host is in lower case, without brackets and final dot; an IP address is in its usual form.
    """
    match = AUTHORITY.fullmatch(authority)
    if match is None:
        return "", None
    host, port = match[1], int(match[2]) if match[2] else None
    if host.startswith("["):
        address = address_of(host[1:-1])
        return (str(address) if address is not None else ""), port
    return normalise_host(host), port


def parse_host(authority: str) -> tuple[str, Address | None]:
    """Return the host in `HOST[:PORT]`, and the parsed address if the host is an IP address, else None."""
    host = split_authority(authority)[0]
    return host, address_of(host)


def normalise_host(host: str) -> str:
    """Return the usual form of a host name or of an address without brackets; "" if the text is neither."""
    if (address := address_of(host)) is not None:
        return str(address)
    host = host.lower().removesuffix(".")
    return host if NAME.fullmatch(host) else ""


def address_of(host: str) -> Address | None:
    """Return the parsed address, an IPv4-mapped one as IPv4; None for a name and for an address with a zone."""
    if "%" in host:
        return None
    try:
        address = ip_address(host.removesuffix("."))
    except ValueError:
        return None
    return unmapped(address)


def unmapped(address: Address) -> Address:
    """Return the IPv4 address in an IPv4-mapped IPv6 address; return any other address unchanged."""
    return getattr(address, "ipv4_mapped", None) or address


def is_host_address(address: Address) -> bool:
    """Return whether this address can belong to one machine; False for multicast addresses, for example."""
    return not (address.is_unspecified or address.is_multicast or address == BROADCAST)


class Hosts:
    """The hosts that a server accepts in Host headers.

    These are `allowed` (a setting), `own_names`, and the addresses of the server's machine. Other hosts are refused if
    the server listens on loopback only, or if `allowed` is not empty.
    """

    def __init__(
        self,
        allowed: Iterable[str] = (),
        own_names: Iterable[str] = (),
        *,
        loopback_only: bool = False,
        is_own_address: Callable[[str], bool] = lambda address: False,
    ) -> None:
        allowed = tuple(allowed)
        self.listed = bool(allowed)
        self.required = (loopback_only or self.listed) and ANY not in allowed
        self._names = {normalise_host(name.strip("[]")) for name in (*allowed, *own_names)} - {""}
        self._is_own_address = is_own_address
        # Only the parsed host is cached. The result of `knows` may change, because the machine's addresses may change.
        self._parse = lru_cache(MAX_CACHED_HOSTS)(parse_host)

    def admits(self, authority: str | None) -> bool:
        """Return whether this Host header is accepted.

        None is accepted: the check protects against pages in browsers, and all browsers send the header.
        """
        return not self.required or authority is None or self.knows(authority)

    def knows(self, authority: str) -> bool:
        """Return whether a Host header refers to this server. Its port is ignored: port forwarding may change it."""
        host, address = self._parse(authority)
        if not host:
            return False
        if host in self._names or host.endswith(".localhost"):
            return True
        if address is None:
            # The public DNS has no names without a dot, so no page on the Internet has such a host.
            return "." not in host and not host.isdecimal()
        return address.is_loopback or self._is_own_address(host)
