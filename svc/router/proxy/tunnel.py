"""Bytes both ways between a client and an instance that have changed to another protocol, such as WebSocket."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from svc.router.http.sockets import RECV, shut


def tunnel(client: socket.socket, instance: socket.socket, passed: Callable[[int, bool], object]) -> None:
    """Copies until either side ends, then ends both.

    `passed` is called with the number of bytes, and whether they came from the instance, after each piece.
    """

    def copy_to_instance() -> None:
        _copy(client, instance, lambda size: passed(size, False))
        _shut_both(client, instance)

    thread = threading.Thread(target=copy_to_instance, name="tunnel", daemon=True)
    thread.start()
    _copy(instance, client, lambda size: passed(size, True))
    _shut_both(client, instance)
    thread.join()


def _copy(source: socket.socket, sink: socket.socket, passed: Callable[[int], object]) -> None:
    with suppress(OSError):
        while data := source.recv(RECV):
            sink.sendall(data)
            passed(len(data))


def _shut_both(client: socket.socket, instance: socket.socket) -> None:
    for sock in (client, instance):
        with suppress(OSError):
            shut(sock)
