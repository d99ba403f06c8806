"""The babysitter's HTTP server: gevent's, with the limits that every server here has for its clients."""

import logging
import time
from collections.abc import Callable
from http.client import HTTPException
from typing import Any

from gevent.pywsgi import LoggingLogAdapter, WSGIHandler, WSGIServer

from svc.errors import HeadTooLarge, SvcError, TooLarge
from svc.perimeter.client_socket import ClientSocket, ClientSockets, error_answer
from svc.perimeter.connections import Deadlines
from svc.perimeter.pool import ConnectionPool, connection_limit

log = logging.getLogger(__name__)
MAX_CONNECTIONS = 256  # registry, routers, monitoring, commands
MAX_REQUEST_BYTES = 64 << 10  # its body too
DEADLINES = Deadlines(idle=10, request=10, answer=10)
SWEEP_SECONDS = 1.0


class Server(WSGIServer):
    """Serves `app`; call `sweep` every SWEEP_SECONDS."""

    def __init__(self, address: tuple[str, int], app: Callable[..., Any], deadlines: Deadlines = DEADLINES) -> None:
        self.clients = ClientSockets(deadlines)
        pool = ConnectionPool(connection_limit(MAX_CONNECTIONS), lambda: self.clients.open, time.monotonic)
        super().__init__(
            address, app, log=None, error_log=LoggingLogAdapter(log, logging.DEBUG), spawn=pool, handler_class=Handler
        )

    def handle(self, sock: Any, address: Any) -> None:
        client = ClientSocket(sock, address[0])
        self.clients.open.add(client)
        try:
            super().handle(client, address)
        except OSError:  # the client broke it off
            pass
        finally:
            self.clients.open.discard(client)
            client.close()

    def sweep(self) -> None:
        self.clients.sweep()
        self.pool.shed_if_full()


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
        if (self.content_length or 0) > MAX_REQUEST_BYTES or self.headers.get("Transfer-Encoding"):
            raise TooLarge(f"a body here has a Content-Length, of {MAX_REQUEST_BYTES} bytes at most")
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
