"""Hosts in URLs, for sockets and in settings: only a URL has brackets around an IPv6 address."""

import ipaddress
import re

NOT_IN_A_HOST = re.compile(r"[\s/\\:@?#%,\[\]]")
IPV6_LOOPBACK = "::1"
IPV6_LOOPBACK_NAMES = (IPV6_LOOPBACK, "ip6-localhost", "ip6-loopback")  # the names are those of Debian's /etc/hosts


def without_brackets(host: str) -> str:
    """Return the host as sockets take it: `[::1]` as `::1`."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def authority(host: str, port: int) -> str:
    """Return HOST:PORT as it stands in a URL, an IPv6 address in brackets."""
    return f"{f'[{host}]' if ':' in host else host}:{port}"


def has_credentials(url: str) -> bool:
    """Return whether a URL holds a user or a password, which logs, open endpoints and process lists would show."""
    return "@" in re.split(r"[/?#]", url.partition("//")[2], maxsplit=1)[0]


def is_ipv6(host: str) -> bool:
    """Return whether the host is an IPv6 address without a zone: a zone has a meaning on one machine only."""
    try:
        return "%" not in host and bool(ipaddress.IPv6Address(host))
    except ValueError:
        return False


def is_host(host: str) -> bool:
    """Return whether a text may be a name or an address, and not a URL or a host with a port."""
    return bool(host) and (not NOT_IN_A_HOST.search(host) or is_ipv6(host))


def is_loopback(host: str) -> bool:
    """Return whether a name or an address means this machine only."""
    host = host.lower().strip("[]").rstrip(".")
    return host == "localhost" or host in IPV6_LOOPBACK_NAMES or host.endswith(".localhost") or host.startswith("127.")


def bind_host(host: str) -> str:
    """Return the address to listen on for clients that connect to `host`: loopback only, if that is loopback."""
    if host.lower() in IPV6_LOOPBACK_NAMES:
        return IPV6_LOOPBACK
    if is_loopback(host):
        return "127.0.0.1"
    return "::" if is_ipv6(host) else "0.0.0.0"  # `::` accepts IPv4 connections, too, unless the socket is IPv6-only


def local_host(host: str) -> str:
    """Return the loopback address at which this machine reaches a server that listens for clients of `host`."""
    return IPV6_LOOPBACK if ":" in bind_host(host) else "127.0.0.1"
