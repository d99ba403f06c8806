"""Open TCP connections, and only to allowed addresses; an IP address is used without the resolver.

Under gevent, a call of the resolver costs twice as much as the rest of a connection, even for an IP address. The
resolver also starts threads that live for seconds: with them, a router was measured at 73.0 us of CPU per request
instead of 68.4.
"""

import socket
from collections.abc import Callable

AddressCheck = Callable[[str, str, int], str]  # host, address, port -> why the address is not allowed, or ""


class AddressRefused(OSError):
    """Raised if a resolved address is not allowed; the message says why."""


def dial(host: str, port: int, timeout: float, rejection_reason: AddressCheck | None = None) -> socket.socket:
    """Return a socket that is connected to `host`; raise OSError.

    The addresses of a host name are tried one after the other, each for up to `timeout` seconds. An address for which
    `rejection_reason` returns a reason is not tried.
    """
    error = OSError(f"{host} has no address")
    for family, address in _addresses(host, port):
        if reason := rejection_reason(host, address[0], port) if rejection_reason else "":
            error = AddressRefused(reason)
            continue
        try:
            return _connect(family, address, timeout)
        except OSError as failure:
            error = failure
    try:
        raise error
    finally:
        del error  # breaks a reference cycle, which would keep a caller's large body until the next garbage collection


def _addresses(host: str, port: int) -> list[tuple[int, tuple]]:
    """Return the family and address of each address of `host`, for `socket.connect`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.inet_pton(family, host)
    except OSError:
        return [(entry[0], entry[4]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    return [(family, (host, port))]


def _connect(family: int, address: tuple, timeout: float) -> socket.socket:
    sock = socket.socket(family)
    try:
        sock.settimeout(timeout)
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock
