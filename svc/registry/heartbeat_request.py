"""A connection to the registry with the bytes that have arrived on it. Reading and answering never wait."""

import socket
from contextlib import suppress
from typing import Any, NamedTuple

from svc.registry import heartbeats


class RawRequest(NamedTuple):
    """A connection with the bytes that were read from it: the arguments of the worker's `handle`."""

    connection: socket.socket
    address: tuple[Any, ...]
    data: bytes


def read_on(request: RawRequest) -> RawRequest | None:
    """Return the request with the bytes that have arrived since. If its client has gone, close it and return None."""
    try:
        data = request.connection.recv(heartbeats.MAX_HEARTBEAT_BYTES, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return request
    except OSError:
        data = b""
    if not data:
        request.connection.close()
        return None
    return request._replace(data=request.data + data)


def send(connection: socket.socket, data: bytes) -> bool:
    """Send the data without waiting: an answer always fits into an empty send buffer. Return whether it was sent."""
    with suppress(OSError):
        return connection.send(data, socket.MSG_DONTWAIT) == len(data)
    return False
