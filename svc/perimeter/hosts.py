"""Which hosts a server answers to: protection against DNS rebinding. Pure.

A web page on evil.example can make that name resolve to 127.0.0.1 once it is loaded. The browser then takes a server
on this machine for the page's own server, so the page may read from it and write to it. The page cannot change the
Host header, which holds the page's own name.
"""

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

ANY = "*"  # as an allowed host: the check is off
MAX_CACHED_HOSTS = 256
BROADCAST = ip_address("255.255.255.255")
NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?")
AUTHORITY = re.compile(r"(\[[^\[\]]*\]|[^\[\]:]*)(?::([0-9]{1,5})?)?")

Address = IPv4Address | IPv6Address


def split_authority(authority: str) -> tuple[str, int | None]:
    """Return host and port of `HOST[:PORT]`; the host is "" where it is malformed.

    The host is in lower case, without brackets and final dot, an address in its usual form.
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
    """Return the host of `HOST[:PORT]`, and its address where it is one."""
    host = split_authority(authority)[0]
    return host, address_of(host)


def normalise_host(host: str) -> str:
    """Return a name or an address without brackets in its usual form, "" where it is neither."""
    if (address := address_of(host)) is not None:
        return str(address)
    host = host.lower().removesuffix(".")
    return host if NAME.fullmatch(host) else ""


def address_of(host: str) -> Address | None:
    """Return the address in a text, IPv4-mapped IPv6 as IPv4; None for a name, and for an address with a zone."""
    if "%" in host:
        return None
    try:
        address = ip_address(host.removesuffix("."))
    except ValueError:
        return None
    return unmapped(address)


def unmapped(address: Address) -> Address:
    """Return the IPv4 address of an IPv4-mapped IPv6 address, any other address as it is."""
    return getattr(address, "ipv4_mapped", None) or address


def is_host_address(address: Address) -> bool:
    """Return whether one machine can have this address."""
    return not (address.is_unspecified or address.is_multicast or address == BROADCAST)


class Hosts:
    """The hosts of one server: `allowed` by a setting, its own names, and the addresses of its machine.

    A request must name one of them while the server listens on loopback only, and wherever `allowed` lists any.
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
        self._parse = lru_cache(MAX_CACHED_HOSTS)(parse_host)  # only this part: the machine's addresses change

    def admits(self, authority: str | None) -> bool:
        """Return whether a request with this Host is accepted; None, of HTTP/1.0, is: no browser speaks that."""
        return not self.required or authority is None or self.knows(authority)

    def knows(self, authority: str) -> bool:
        """Return whether a Host names this server. Its port may be any: a forwarded port differs from the server's."""
        host, address = self._parse(authority)
        if not host:
            return False
        if host in self._names or host.endswith(".localhost"):
            return True
        if address is None:
            # The public DNS has no names without a dot, so no page on the Internet comes from one.
            return "." not in host and not host.isdecimal()
        return address.is_loopback or self._is_own_address(host)
