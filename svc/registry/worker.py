"""The registry's gunicorn worker: heartbeats take a fast path, every other request goes through WSGI.

The fast path (svc/registry/heartbeats.py) answers a usual heartbeat that the registry accepts. Every other request goes
to the application unchanged. A refused heartbeat goes there, too: the refusal has changed nothing, so the application
can process the request again and answer with the error.

The deadlines and the connection limit of `svc.perimeter` apply to both paths.
"""

import gc
import time
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from gevent.server import StreamServer
from gunicorn.workers.ggevent import GeventWorker

from svc.base.errors import SvcError
from svc.perimeter.client_socket import ClientSocket
from svc.perimeter.connection_pool import ConnectionLimits
from svc.perimeter.connections import ConnectionDeadlines
from svc.registry import heartbeats
from svc.registry.heartbeats import Heartbeat, HeartbeatHandler

MAX_HEAD_BYTES = 64 << 10  # of a request that the application handles
MAX_DISCARDED_BYTES = 1 << 20  # the unread rest of a body that the application refused
DESCRIPTORS_PER_CLIENT = 2  # its own connection, and one for a health check that it may request
DEADLINES = ConnectionDeadlines(idle=2, request=10, answer=30)


class RegistryWorker(GeventWorker):
    def run(self) -> None:
        from svc.registry.app import API_EXTENSION  # not earlier: see svc/registry/serve.py

        self._heartbeat_handler: HeartbeatHandler = self.wsgi.extensions[API_EXTENSION].heartbeat_handler
        self._limits = ConnectionLimits(DEADLINES, self.worker_connections, DESCRIPTORS_PER_CLIENT)
        gc.collect()
        gc.freeze()  # all objects so far live as long as the process: garbage collections can skip them
        super().run()

    def server_class(self, listener: Any, **_: Any) -> StreamServer:
        """Return the server for a listening socket; gunicorn calls this for each listening socket."""
        return StreamServer(listener, handle=partial(self.handle, listener), spawn=self._limits.pool)

    def notify(self) -> None:
        """Report to gunicorn that the worker is alive, and sweep the connections; gunicorn calls this once a second."""
        super().notify()
        self._limits.sweep()

    def timeout_ctx(self) -> AbstractContextManager[None]:
        return nullcontext()  # no timer here: the sweep closes connections that wait for too long

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
            raise StopIteration  # gunicorn then closes the connection
        sock.begin_waiting(MAX_HEAD_BYTES)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        if isinstance(exc, SvcError):
            client.refuse(exc)
        else:
            super().handle_error(req, client, addr, exc)

    def _answer_heartbeats(self, client: ClientSocket) -> bool:
        """Answer heartbeats until a request arrives that needs the application, or until the connection ends.

        Return whether such a request has arrived; the next `recv` of the client returns its bytes.
        """
        while data := _receive(client):
            heartbeat = heartbeats.parse_heartbeat(data)
            payload = self._handle_heartbeat(client.address, heartbeat) if heartbeat else None
            if heartbeat is None or payload is None:
                client.unread(data)
                return True
            closes = heartbeat.closes_connection or not self.alive or not self.cfg.keepalive
            client.sendall(heartbeats.response(payload, time.time(), closes))
            if closes:
                return False
            client.begin_waiting(MAX_HEAD_BYTES)
        return False

    def _handle_heartbeat(self, peer: str, heartbeat: Heartbeat) -> bytes | None:
        try:
            return self._heartbeat_handler.handle(peer, heartbeat)
        except Exception:  # noqa: BLE001 - the application processes the request again, and reports the error
            return None


def _receive(client: ClientSocket) -> bytes:
    """Return a whole heartbeat, or the beginning of any other request; b"" if the client sends nothing more."""
    data = b""
    while not heartbeats.is_complete(data) and (more := client.recv(heartbeats.MAX_HEARTBEAT_BYTES)):
        data += more
    return data


def _discard_rest(body: Any) -> bool:
    """Read and discard the rest of a request body; return False if more than MAX_DISCARDED_BYTES are left."""
    size = 0
    while data := body.read(8192):
        size += len(data)
        if size > MAX_DISCARDED_BYTES:
            return False
    return True
