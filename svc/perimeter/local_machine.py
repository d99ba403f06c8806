"""Find the names and addresses of this machine without a name server."""

import socket
from collections.abc import Iterable, Iterator
from pathlib import Path

from svc.perimeter.hosts import Hosts, address_of, is_host_address

HOSTS_FILE = Path("/etc/hosts")
MAX_HOSTS_FILE_BYTES = 64 << 10  # only this much is read, because a longer file is a blocklist


def hosts(allowed: Iterable[str], configured_host: str, loopback_only: bool) -> Hosts:
    """Return the hosts that a server on this machine accepts. `configured_host` is the server's setting `host`."""
    names = (configured_host, *own_names())
    return Hosts(allowed, names, loopback_only=loopback_only, is_own_address=is_own_address)


def own_names() -> frozenset[str]:
    """Return this machine's host name, and the names in /etc/hosts for loopback or on a line with the host name."""
    hostname = socket.gethostname()
    return frozenset((hostname, *listed_names(read_hosts_file(HOSTS_FILE), hostname)))


def loopback_names(path: Path = HOSTS_FILE) -> frozenset[str]:
    """Return the names that /etc/hosts has for loopback, in lower case. On Debian, they include the machine's name."""
    return frozenset(name.lower() for name in listed_names(read_hosts_file(path)))


def read_hosts_file(path: Path) -> str:
    """Return the beginning of a hosts file, or "" if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_HOSTS_FILE_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


def listed_names(hosts_file: str, hostname: str = "") -> Iterator[str]:
    """Yield the names in all lines of a hosts file that have a loopback address or contain `hostname`."""
    for line in hosts_file.splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        parsed = address_of(address)
        if hostname in names or (parsed is not None and parsed.is_loopback):
            yield from names


def is_own_address(address: str) -> bool:
    """Return whether an interface of this machine has the address now.

    The test is whether a socket can be bound to the address. Wildcard and multicast addresses can always be bound, so
    they are excluded first.
    """
    parsed = address_of(address)
    if parsed is None or not is_host_address(parsed):
        return False
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def is_loopback_only(listener: socket.socket) -> bool:
    """Return whether a listening socket accepts connections from this machine only."""
    name = listener.getsockname()
    address = address_of(str(name[0]).partition("%")[0]) if isinstance(name, tuple) else None
    return address is not None and address.is_loopback
