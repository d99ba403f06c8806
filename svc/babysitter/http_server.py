"""The babysitter's HTTP server: gevent's WSGIServer with the connection limits of the registry and the router."""

import logging
import socket
from collections.abc import Callable, Iterable
from http.client import HTTPException
from types import TracebackType
from typing import Any

from gevent.pywsgi import LoggingLogAdapter, WSGIHandler, WSGIServer

from svc.base.errors import BadRequest, HeadTooLarge, LengthRequired, SvcError, TooLarge
from svc.perimeter.client_socket import error_answer
from svc.perimeter.connection_pool import ConnectionLimits
from svc.perimeter.connections import ConnectionDeadlines

log = logging.getLogger(__name__)
MAX_CONNECTIONS = 256  # limit for the registry, routers, monitoring and commands together
MAX_REQUEST_BYTES = 64 << 10  # limit for head and body together
DEADLINES = ConnectionDeadlines(idle=10, request=10, answer=10)
SWEEP_INTERVAL_SECONDS = 1.0


class BabysitterServer(WSGIServer):
    """Serves `app`; call `sweep` every SWEEP_INTERVAL_SECONDS."""

    def __init__(
        self,
        address: tuple[str, int],
        app: Callable[..., Iterable[bytes]],
        deadlines: ConnectionDeadlines = DEADLINES,
    ) -> None:
        self.limits = ConnectionLimits(deadlines, MAX_CONNECTIONS)
        super().__init__(
            address,
            app,
            log=None,
            error_log=LoggingLogAdapter(log, logging.DEBUG),
            spawn=self.limits.pool,
            handler_class=RequestHandler,
        )

    def handle(self, sock: socket.socket, address: tuple[str, int]) -> None:
        with self.limits.client(sock, address[0]) as client:
            super().handle(client, address)

    def sweep(self) -> None:
        """End the connections that have passed a deadline, such as a request that arrives too slowly."""
        self.limits.sweep()


class HeadLines:
    """The lines of a request's head in `rfile`. `last` is the last one that was read; it is empty at the end."""

    def __init__(self, rfile: Any) -> None:
        self.rfile = rfile
        self.last = b""

    def readline(self, limit: int) -> bytes:
        self.last = self.rfile.readline(limit)
        return self.last


class RequestHandler(WSGIHandler):
    """Handles one connection; answers a request that is too large, too slow or incomplete with a JSON error."""

    rfile: Any  # a socket's file; gevent has no types

    def handle_one_request(self) -> Any:  # gevent's method returns None, True, or a status and a body
        self.socket.begin_waiting(MAX_REQUEST_BYTES)
        try:
            return super().handle_one_request()
        except SvcError as error:
            return str(error.status), error_answer(error)

    def read_request(self, raw_requestline: str) -> bool:
        self.rfile = head = HeadLines(self.rfile)
        try:
            complete = super().read_request(raw_requestline)
        finally:
            self.rfile = head.rfile
        if not head.last:  # gevent takes the end of the connection for the end of the head
            raise BadRequest("the connection ended before the head of the request did")
        if self.headers.get("Transfer-Encoding"):
            raise LengthRequired("a body with Transfer-Encoding is not read; send it with a Content-Length")
        if (self.content_length or 0) > MAX_REQUEST_BYTES:
            raise TooLarge(f"the body is {self.content_length} bytes, the limit is {MAX_REQUEST_BYTES}")
        return bool(complete)

    def _handle_client_error(self, ex: Exception) -> tuple[str, bytes] | None:
        if isinstance(ex, OSError):  # the client has closed the connection
            return None
        if isinstance(ex, HTTPException):
            ex = HeadTooLarge(f"cannot read the request's head: {ex}")
        if isinstance(ex, SvcError):
            return str(ex.status), error_answer(ex)
        result: tuple[str, bytes] = super()._handle_client_error(ex)
        return result

    def handle_error(self, t: type[BaseException], v: BaseException, tb: TracebackType | None) -> None:
        if isinstance(v, SvcError):  # the part of the body that the application did not read arrived too slowly
            self.close_connection = True
        else:
            super().handle_error(t, v, tb)
