"""The registry's gunicorn worker: heartbeats take a fast path, every other request goes through WSGI.

The fast path answers a usual heartbeat (svc/registry/heartbeat_fast_path.py) that is accepted. Any other request
goes to the application as it was received. So does a heartbeat that was refused: a refusal changes nothing, and the
application may process it again.

Both paths have the deadlines and the connection limit of `svc.perimeter`.
"""

import gc
import time
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from gevent.server import StreamServer
from gunicorn.workers.ggevent import GeventWorker

from svc.base.errors import SvcError
from svc.perimeter.client_socket import ClientSocket
from svc.perimeter.connection_pool import ConnectionLimits
from svc.perimeter.connections import ConnectionDeadlines
from svc.registry import heartbeat_fast_path

if TYPE_CHECKING:
    from svc.registry.api import RegistryApi

MAX_HEAD_BYTES = 64 << 10  # of a request to the application
MAX_DISCARDED_BYTES = 1 << 20  # of a body that the application has refused
DESCRIPTORS_PER_CLIENT = 2  # its connection, and that of the health check that it may ask for
DEADLINES = ConnectionDeadlines(idle=2, request=10, answer=30)


class RegistryWorker(GeventWorker):
    def run(self) -> None:
        self._api: RegistryApi = self.wsgi.extensions[heartbeat_fast_path.API_EXTENSION]
        self._limits = ConnectionLimits(DEADLINES, self.worker_connections, DESCRIPTORS_PER_CLIENT)
        gc.collect()
        gc.freeze()  # what exists now lives as long as the process: collections need not visit it
        super().run()

    def server_class(self, listener: Any, **_: Any) -> StreamServer:
        """Return the server of a socket; gunicorn calls this if a worker has it."""
        return StreamServer(listener, handle=partial(self.handle, listener), spawn=self._limits.pool)

    def notify(self) -> None:
        """Send gunicorn's sign of life and sweep the connections; gunicorn calls this once a second."""
        super().notify()
        self._limits.sweep()

    def timeout_ctx(self) -> AbstractContextManager[None]:
        return nullcontext()  # the sweep closes connections that wait for too long

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        with self._limits.client(client, addr[0]) as limited:
            limited.begin_waiting(MAX_HEAD_BYTES)
            try:
                if self._answer_heartbeats(limited):
                    super().handle(listener, limited, addr)
            except SvcError as error:
                limited.refuse(error)

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> None:
        sock.begin_answering()
        super().handle_request(listener_name, req, sock, addr)
        if not _discard_rest(req.body):
            raise StopIteration  # the connection ends
        sock.begin_waiting(MAX_HEAD_BYTES)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        if isinstance(exc, SvcError):
            client.refuse(exc)
        else:
            super().handle_error(req, client, addr, exc)

    def _answer_heartbeats(self, client: ClientSocket) -> bool:
        """Answer heartbeats until the client ends; return True as soon as it sends another request."""
        while data := _receive(client):
            heartbeat = heartbeat_fast_path.parse_heartbeat(data)
            payload = self._handle_heartbeat(client.address, heartbeat) if heartbeat else None
            if heartbeat is None or payload is None:
                client.unread(data)
                return True
            closes = heartbeat.closes_connection or not self.alive or not self.cfg.keepalive
            client.sendall(heartbeat_fast_path.response(payload, time.time(), closes))
            if closes:
                return False
            client.begin_waiting(MAX_HEAD_BYTES)
        return False

    def _handle_heartbeat(self, peer: str, heartbeat: heartbeat_fast_path.Heartbeat) -> bytes | None:
        try:
            return self._api.handle_heartbeat(peer, heartbeat)
        except Exception:  # noqa: BLE001 - the application processes the request again, and reports what it raises
            return None


def _receive(client: ClientSocket) -> bytes:
    """Return what the client sends, up to the end of a heartbeat; return nothing once it has closed the connection."""
    data = b""
    while not heartbeat_fast_path.is_complete(data) and (more := client.recv(heartbeat_fast_path.MAX_HEARTBEAT_BYTES)):
        data += more
    return data


def _discard_rest(body: Any) -> bool:
    """Read and discard the rest of a request's body; return False if it is longer than MAX_DISCARDED_BYTES."""
    size = 0
    while data := body.read(8192):
        size += len(data)
        if size > MAX_DISCARDED_BYTES:
            return False
    return True
