"""The registry's gunicorn worker: heartbeats take a fast path, every other request goes through WSGI.

The fast path (svc/registry/heartbeat_server.py) answers usual heartbeats that the registry accepts. Every other request
goes to the application unchanged. A refused heartbeat goes there, too: the refusal has changed nothing, so the
application can process the request again and answer with the error. A heartbeat that does not arrive at once goes there
as well, and so does a second heartbeat on one connection, because the deadlines of `svc.perimeter` apply to these
connections.
"""

import time
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from gunicorn.workers.ggevent import GeventWorker

from svc.base import garbage
from svc.base.errors import SvcError
from svc.perimeter.connection_pool import ConnectionLimits, connection_limit
from svc.perimeter.connections import ConnectionDeadlines
from svc.registry.heartbeat_server import HeartbeatServer
from svc.registry.heartbeats import Heartbeat

MAX_HEAD_BYTES = 64 << 10  # limit for the head of a request that the application handles
MAX_DISCARDED_BYTES = 1 << 20  # limit for the unread rest of a body that the application refused
DESCRIPTORS_PER_CLIENT = 2  # the client's own connection, and one for a health check that the client may request
DEADLINES = ConnectionDeadlines(idle=2, request=10, answer=30)


class RegistryWorker(GeventWorker):
    def run(self) -> None:
        from svc.registry.app import API_EXTENSION  # not earlier: see svc/registry/serve.py

        self._handle_batch = self.wsgi.extensions[API_EXTENSION].heartbeat_handler.handle_batch
        clients = connection_limit(self.worker_connections, DESCRIPTORS_PER_CLIENT)
        # A kept connection needs one descriptor, a client two: all kept connections replace half as many clients.
        self._max_kept = clients // 8
        self._limits = ConnectionLimits(DEADLINES, clients - clients // 16, DESCRIPTORS_PER_CLIENT)
        garbage.begin_collections()
        super().run()

    def server_class(self, listener: Any, **_: Any) -> HeartbeatServer:
        """Return the server for a listening socket; gunicorn calls this for each listening socket."""
        handle, pool = partial(self.handle, listener), self._limits.pool
        return HeartbeatServer(listener, handle, pool, self._handle_batch, time.time, self._closes, self._max_kept)

    def notify(self) -> None:
        """Report to gunicorn that the worker is alive, and sweep the connections; gunicorn calls this once a second."""
        super().notify()
        self._limits.sweep()

    def timeout_ctx(self) -> AbstractContextManager[None]:
        return nullcontext()  # no timer here: the sweep closes connections that wait for too long

    def handle(self, listener: Any, client: Any, addr: Any, data: bytes) -> None:
        """Serve a connection on which `data` has already been read."""
        with self._limits.client(client, addr[0]) as limited:
            limited.begin_waiting(MAX_HEAD_BYTES)
            limited.unread(data)
            try:
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

    def _closes(self, heartbeat: Heartbeat) -> bool:
        return heartbeat.closes_connection or not self.alive or not self.cfg.keepalive


def _discard_rest(body: Any) -> bool:
    """Read and discard the rest of a request body; return False if more than MAX_DISCARDED_BYTES are left."""
    size = 0
    while data := body.read(8192):
        size += len(data)
        if size > MAX_DISCARDED_BYTES:
            return False
    return True
