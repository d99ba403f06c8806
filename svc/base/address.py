"""Convert host names and addresses between URLs, sockets and settings: only URLs put an IPv6 address in brackets."""

import ipaddress
import re
from urllib.parse import urlsplit

NOT_IN_A_HOST = re.compile(r"[\s/\\:@?#%,\[\]]")
IPV6_LOOPBACK = "::1"
WILDCARDS = ("0.0.0.0", "::")  # the addresses that stand for every address of a machine
IPV6_LOOPBACK_NAMES = (IPV6_LOOPBACK, "ip6-localhost", "ip6-loopback")  # the names are those of Debian's /etc/hosts


def without_brackets(host: str) -> str:
    """Return the host in the form that sockets accept: `::1` for `[::1]`."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def authority(host: str, port: int) -> str:
    """Return HOST:PORT for a URL, with brackets around an IPv6 address."""
    return f"{f'[{host}]' if ':' in host else host}:{port}"


def has_credentials(url: str) -> bool:
    """Return whether a URL contains a user or a password, which logs, open endpoints and process lists would expose."""
    return "@" in re.split(r"[/?#]", url.partition("//")[2], maxsplit=1)[0]


def split_urls(text: str) -> list[str]:
    """Return the URLs in a comma-separated text, without trailing slashes."""
    return [url.strip().rstrip("/") for url in text.split(",") if url.strip()]


def host_port(url: str) -> tuple[str, int | None]:
    """Return the host and the port of a URL, for comparisons; loopback addresses and 0.0.0.0 become localhost."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        return ("localhost" if is_loopback(host) or host == "0.0.0.0" else host, parts.port)  # noqa: S104
    except ValueError:  # the port is not a number
        return (host, None)


def is_ipv6(host: str) -> bool:
    """Return whether `host` is an IPv6 address without a zone.

    With a zone (`fe80::1%eth0`), an address is valid on one machine only.
    """
    try:
        return "%" not in host and bool(ipaddress.IPv6Address(host))
    except ValueError:
        return False


def is_host(host: str) -> bool:
    """Return whether a text can be a host name or an address; False for a URL and for a host with a port."""
    return bool(host) and (not NOT_IN_A_HOST.search(host) or is_ipv6(host))


def is_loopback(host: str) -> bool:
    """Return whether `host` is a loopback name or address."""
    host = host.lower().strip("[]").rstrip(".")
    return host == "localhost" or host in IPV6_LOOPBACK_NAMES or host.endswith(".localhost") or host.startswith("127.")


def is_wildcard(host: str) -> bool:
    """Return whether `host` stands for all addresses of a machine. Servers can listen on it; clients cannot use it."""
    return without_brackets(host) in WILDCARDS


def bind_host(host: str) -> str:
    """Return the address on which a server must listen so that clients reach it at `host`.

    This is a loopback address for a loopback host, else the wildcard.
    """
    if host.lower() in IPV6_LOOPBACK_NAMES:
        return IPV6_LOOPBACK
    if is_loopback(host):
        return "127.0.0.1"
    return "::" if is_ipv6(host) else "0.0.0.0"  # `::` also accepts IPv4, unless the socket is IPv6-only


def local_host(host: str) -> str:
    """Return the loopback address at which this machine reaches a server that listens on `bind_host(host)`."""
    return IPV6_LOOPBACK if ":" in bind_host(host) else "127.0.0.1"
