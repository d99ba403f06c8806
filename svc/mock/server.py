"""Serve the mock in one process, with one greenlet for each connection.

The standard library is not patched, because the mock serves and waits only with gevent's own classes.
"""

import errno
import logging
import os
import random
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import gevent
import gevent.event
import gevent.socket
from gevent.pywsgi import WSGIHandler, WSGIServer

from svc.base import garbage
from svc.base.address import authority, without_brackets
from svc.base.errors import CommandError
from svc.mock.app import MockApplication
from svc.mock.backend_api import BackendApi
from svc.mock.behaviour import MockOptions
from svc.mock.engine_memory import EngineMemory, load_seconds
from svc.mock.gpu_state import GpuStateFile, OutOfMemory
from svc.mock.request_reply import CONNECTION_KEY, ClientLeft, CutByMock
from svc.mock.sleep_mode import MockSleepMode

log = logging.getLogger(__name__)
BACKLOG = 1024
FOREVER_SECONDS = 10**6
# The value for SO_LINGER with which close() sends a reset and drops unsent data.
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def serve(options: MockOptions) -> None:
    """Simulate the loading of a model, then serve until SIGTERM or Ctrl-C.

    While the mock loads, its port is closed, as vLLM's is, and a SIGTERM ends it at once. Raise CommandError if the
    port cannot be opened.
    """
    memory = _load(options)
    listener = _listen(options.host, options.port)
    # Fork before gevent starts: the child must not share its parent's event loop.
    child = _fork_holder() if options.child else None
    stop = gevent.event.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, stop.set)
    app = _create_app(options, memory, {"pid": os.getpid(), "child": child})
    host, port = listener.getsockname()[:2]
    server = WSGIServer(gevent.socket.socket(fileno=listener.detach()), app, log=None, handler_class=_Handler)
    server.start()
    garbage.begin_collections()
    log.info("mock %s serves %s at http://%s", options.name, ", ".join(options.models), authority(host, port))
    try:
        stop.wait()
    finally:
        server.close()
        memory.free()
        if child:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _load(options: MockOptions) -> EngineMemory:
    """Take the GPU memory, and wait for the time that loading takes; exit with 1 if the memory does not fit."""
    file = GpuStateFile(Path(options.gpu.state)) if options.gpu.state else None
    memory = EngineMemory(options.gpu, options.name, os.getpid(), file)
    try:
        memory.take("load")
    except OutOfMemory as error:
        print(error, file=sys.stderr, flush=True)
        sys.exit(1)
    time.sleep(load_seconds(options.gpu))
    memory.report("ready")
    return memory


def _create_app(options: MockOptions, memory: EngineMemory, about: dict[str, Any]) -> MockApplication:
    api = BackendApi(options.name, options.models, time.time)
    exit_later = _exit_timer()
    sleep = MockSleepMode(memory, options.gpu.wake_time, time.time, lambda: exit_later(0, 1))
    app = MockApplication(api, options.behaviour, time.time, random.random, exit_later, about, sleep, options.api_key)
    app.adopt(options.behaviour, "loading", "memory", "exit_after")
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
    # Accepted connections inherit TCP_NODELAY. The head and the body of an answer are two writes, and the second must
    # not wait for the ACK of the first.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _fork_holder() -> int:
    """Fork a child that only keeps the listening socket open, like a worker of a killed server; return its pid."""
    pid = os.fork()
    if pid:
        return pid
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    while True:
        signal.pause()


def _exit_timer() -> Callable[[float | None, int], None]:
    """Return `exit_later(seconds, code)`, which ends the process after that time without cleanup, like a crash."""
    timers: list[gevent.Greenlet] = []

    def exit_later(seconds: float | None, code: int) -> None:
        while timers:
            timers.pop().kill(block=False)
        if seconds is not None:
            timers.append(gevent.spawn_later(seconds, os._exit, code))

    return exit_later


class _GeventConnection:
    """The `Connection` of one request on gevent's server."""

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
        deadline = None if seconds is None else time.monotonic() + seconds
        try:
            gevent.socket.wait_read(self._handler.socket.fileno(), seconds, TimeoutError())
        except TimeoutError:
            return
        self._raise_if_closed()
        # The client has already sent its next request. While this is unread, a closed connection is not detected.
        gevent.sleep(FOREVER_SECONDS if deadline is None else max(0, deadline - time.monotonic()))

    def _raise_if_closed(self) -> None:
        try:
            closed = not self._handler.socket.recv(1, socket.MSG_PEEK)
        except OSError:
            closed = True
        if closed:
            raise ClientLeft

    def abort(self, reset: bool) -> NoReturn:
        if reset:
            self._handler.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        raise CutByMock  # a ConnectionResetError, at which the server closes the connection without a log message


class _Handler(WSGIHandler):
    def get_environ(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environ()
        environ[CONNECTION_KEY] = _GeventConnection(self)
        return environ
