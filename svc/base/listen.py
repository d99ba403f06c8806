"""Bind a server's listening socket, and raise the limit of open files so that its connections fit."""

import resource
import socket

from svc.base.address import authority, without_brackets
from svc.base.errors import CommandError

OTHER_DESCRIPTORS = 1000  # number of descriptors for logs, libraries and connections to other servers


def bind(program: str, host: str, port: int) -> socket.socket:
    """Return a socket that is bound to the address; raise CommandError if that fails.

    gunicorn gets a bound socket because its own bind would try five times and log each failure.
    """
    host = without_brackets(host)
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, _, _, address = addresses[0]
        listener = socket.socket(family, kind)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise CommandError(
            f"{program}: cannot listen on {authority(host, port)}: {(error.strerror or str(error)).lower()}; "
            "stop what does, or choose another with --port and --host"
        ) from None
    return listener


def allow_connections(count: int) -> None:
    """Raise the limit of open files, as far as the system allows, so that `count` connections are possible."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = count + OTHER_DESCRIPTORS
    limit = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if soft != resource.RLIM_INFINITY and soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
