"""The babysitter's HTTP server: gevent's, with the limits that every server here has for its clients."""

import logging
from collections.abc import Callable
from http.client import HTTPException
from typing import Any

from gevent.pywsgi import LoggingLogAdapter, WSGIHandler, WSGIServer

from svc.base.errors import HeadTooLarge, LengthRequired, SvcError, TooLarge
from svc.perimeter.client_socket import error_answer
from svc.perimeter.connections import Deadlines
from svc.perimeter.limits import ConnectionLimits

log = logging.getLogger(__name__)
MAX_CONNECTIONS = 256  # registry, routers, monitoring, commands
MAX_REQUEST_BYTES = 64 << 10  # its body too
DEADLINES = Deadlines(idle=10, request=10, answer=10)
SWEEP_SECONDS = 1.0


class Server(WSGIServer):
    """Serves `app`; call `sweep` every SWEEP_SECONDS."""

    def __init__(self, address: tuple[str, int], app: Callable[..., Any], deadlines: Deadlines = DEADLINES) -> None:
        self.limits = ConnectionLimits(deadlines, MAX_CONNECTIONS)
        super().__init__(
            address,
            app,
            log=None,
            error_log=LoggingLogAdapter(log, logging.DEBUG),
            spawn=self.limits.pool,
            handler_class=Handler,
        )

    def handle(self, sock: Any, address: Any) -> None:
        with self.limits.client(sock, address[0]) as client:
            super().handle(client, address)

    def sweep(self) -> None:
        self.limits.sweep()


class Handler(WSGIHandler):
    """One connection; a request that is too large or does not arrive is refused in the contract's shape."""

    def handle_one_request(self) -> Any:
        self.socket.rest(MAX_REQUEST_BYTES)
        try:
            return super().handle_one_request()
        except SvcError as error:
            return str(error.status), error_answer(error)

    def read_request(self, raw_requestline: str) -> bool:
        whole = super().read_request(raw_requestline)
        if self.headers.get("Transfer-Encoding"):
            raise LengthRequired("a body with Transfer-Encoding is not read; send it with a Content-Length")
        if (self.content_length or 0) > MAX_REQUEST_BYTES:
            raise TooLarge(f"the body is {self.content_length} bytes, the limit is {MAX_REQUEST_BYTES}")
        return bool(whole)

    def _handle_client_error(self, ex: Exception) -> tuple[str, bytes] | None:
        if isinstance(ex, OSError):  # the client broke it off
            return None
        if isinstance(ex, HTTPException):
            ex = HeadTooLarge(f"cannot read the request's head: {ex}")
        if isinstance(ex, SvcError):
            return str(ex.status), error_answer(ex)
        result: tuple[str, bytes] = super()._handle_client_error(ex)
        return result

    def handle_error(self, t: Any, v: Any, tb: Any) -> None:
        if isinstance(v, SvcError):  # the rest of a body that nobody read did not come
            self.close_connection = True
        else:
            super().handle_error(t, v, tb)
