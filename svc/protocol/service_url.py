"""The URLs in registrations, to which the registry and the routers send requests.

URL parsers disagree: for `https://a:1\\@b:2`, Python's urlsplit returns the host b and urllib3 the host a. The grammar
here accepts only URLs that every parser reads in the same way, so that requests go to the host that was checked.
"""

import ipaddress
import re
from functools import lru_cache
from typing import NamedTuple

from svc.base.address import authority, is_ipv6, without_brackets

MAX_URL_LENGTH = 2048
DEFAULT_PORTS = {"http": 80, "https": 443}
HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?")
NUMBER = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")
PATH_CHARACTERS = r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*"  # RFC 3986, 3.3
URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[1-9][0-9]{0,4}))?"
    rf"(?P<path>(?:/{PATH_CHARACTERS})?)(?P<query>(?:\?{PATH_CHARACTERS})?)"
)


class ServiceUrl(NamedTuple):
    """The parts of a URL. `path` is empty or begins with `/`; `query` is empty or begins with `?`."""

    scheme: str
    host: str  # IPv6 addresses are without brackets
    port: int
    path: str = ""
    query: str = ""

    @property
    def authority(self) -> str:
        return authority(self.host, self.port)


@lru_cache(4096)  # a router parses all URLs again with each change of the registry's list
def parse_service_url(url: str) -> ServiceUrl:
    """Return the parts of an http or https URL.

    Raise ValueError for any other text, and for a URL with a user, a password or a fragment.
    """
    match = URL.fullmatch(url) if len(url) <= MAX_URL_LENGTH else None
    if match is None:
        raise ValueError("not like http://HOST:PORT/PATH")
    scheme, host = match["scheme"], without_brackets(match["host"])
    port = int(match["port"] or DEFAULT_PORTS[scheme])
    if not is_service_host(host) or (host != match["host"]) != is_ipv6(host) or port > 65535:
        raise ValueError("host or port is invalid")
    return ServiceUrl(scheme, host, port, match["path"], match["query"])


def is_service_url(value: object, query: bool = True) -> bool:
    """Return whether `parse_service_url` accepts the value; if `query` is false, it must have no query."""
    try:
        return isinstance(value, str) and (not parse_service_url(value).query or query)
    except ValueError:
        return False


def is_service_host(host: str) -> bool:
    """Return whether a text is a host name, or an IP address in its usual form.

    Unusual forms that some resolvers read as addresses are refused: 127.1, 0x7f000001, 2130706433. An IPv6 zone is
    refused because it is valid on one machine only.
    """
    if HOST.fullmatch(host) and not NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
        return True
    try:
        return is_ipv6(host) if ":" in host else bool(ipaddress.IPv4Address(host))
    except ValueError:
        return False
