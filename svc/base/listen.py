"""Taking an address, and being allowed enough connections to serve it."""

import resource
import socket

from svc.base.address import authority, without_brackets
from svc.base.errors import CommandError


def bind(program: str, host: str, port: int) -> socket.socket:
    """The address, taken before gunicorn starts: it would try five times, with noise. Raises CommandError."""
    host = without_brackets(host)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, _, _, address = found[0]
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
    """As many open files as `count` connections need, where the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 1000
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
