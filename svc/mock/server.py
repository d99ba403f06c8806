"""Serving the mock: one process, one greenlet a connection.

Nothing is patched: gevent's own server and waits are all that it needs.
"""

import errno
import logging
import os
import random
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import gevent
import gevent.event
import gevent.socket
from gevent.pywsgi import WSGIHandler, WSGIServer

from svc.base.address import authority, without_brackets
from svc.base.errors import CommandError
from svc.mock.api import Api
from svc.mock.app import Mock
from svc.mock.config import MockConfig
from svc.mock.exchange import WIRE, ClientLeft, Cut

log = logging.getLogger(__name__)
BACKLOG = 1024
# close() then sends a reset and drops what was not sent
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def serve(config: MockConfig) -> None:
    """Serves until SIGTERM or Ctrl-C; CommandError when it cannot listen."""
    listener = _listen(config.host, config.port)
    # Before gevent starts: the child must not have an event loop of its parent's.
    child = _hold() if config.child else None
    stop = gevent.event.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, stop.set)
    app = _app(config, {"pid": os.getpid(), "child": child})
    host, port = listener.getsockname()[:2]
    server = WSGIServer(gevent.socket.socket(fileno=listener.detach()), app, log=None, handler_class=_Handler)
    server.start()
    log.info("mock %s serves %s at http://%s", config.name, ", ".join(config.models), authority(host, port))
    try:
        stop.wait()
    finally:
        server.close()
        if child:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _app(config: MockConfig, about: dict[str, Any]) -> Mock:
    api = Api(config.name, config.models, time.time)
    app = Mock(api, config.behaviour, time.time, random.random, _exits(), about, config.api_key)
    app.adopt(config.behaviour, "loading", "memory", "exit_after")
    return app


def _listen(host: str, port: int) -> socket.socket:
    host = without_brackets(host)
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            reason = "the port is taken; stop what listens there or choose another --port"
        else:
            reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error.strerror)
        raise CommandError(f"cannot listen on {authority(host, port)}: {reason}") from None
    # Connections inherit it: an answer's head and body are two writes, and must not wait for an ACK.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _hold() -> int:
    """Forks a worker that does nothing but keep the listening socket, as a server's workers may."""
    pid = os.fork()
    if pid:
        return pid
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    while True:
        signal.pause()


def _exits() -> Callable[[float | None, int], None]:
    """The function that ends the process later: at once and without tidying, as a crash does."""
    planned: list[gevent.Greenlet] = []

    def exit_later(seconds: float | None, code: int) -> None:
        while planned:
            planned.pop().kill(block=False)
        if seconds is not None:
            planned.append(gevent.spawn_later(seconds, os._exit, code))

    return exit_later


class _Wire:
    """The connection under one request."""

    def __init__(self, handler: WSGIHandler) -> None:
        self.target: str = handler.path
        self._handler = handler

    def headers(self) -> Iterator[tuple[str, str]]:
        for line in self._handler.headers.headers:
            name, _, value = line.partition(":")
            yield name, value.strip()

    def pause(self, seconds: float | None) -> None:
        if seconds == 0:
            return
        until = None if seconds is None else time.monotonic() + seconds
        try:
            gevent.socket.wait_read(self._handler.socket.fileno(), seconds, TimeoutError())
        except TimeoutError:
            return
        self._raise_if_left()
        # More was sent in the meantime: the next request, behind which no end is seen.
        gevent.sleep(10**6 if until is None else max(0, until - time.monotonic()))

    def _raise_if_left(self) -> None:
        try:
            left = not self._handler.socket.recv(1, socket.MSG_PEEK)
        except OSError:
            left = True
        if left:
            raise ClientLeft

    def abort(self, reset: bool) -> NoReturn:
        if reset:
            self._handler.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        raise Cut  # a socket error of the kind upon which the server closes the connection and says nothing


class _Handler(WSGIHandler):
    def get_environ(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environ()
        environ[WIRE] = _Wire(self)
        return environ
