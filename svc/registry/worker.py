"""The registry's gunicorn worker: heartbeats take a short way, everything else goes through WSGI.

The short way takes a heartbeat that is usual (svc/registry/heartbeat_fast_path.py) and that is
accepted. Any other comes to the application as it was sent: to refuse one does
nothing, so nothing was done yet.

Deadlines and the number of connections are those of `svc.perimeter`, for both ways alike.
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
from svc.perimeter.connections import Deadlines
from svc.perimeter.limits import ConnectionLimits
from svc.registry import heartbeat_fast_path

API = "svc.registry.api"  # where the application keeps what answers
MAX_HEAD_BYTES = 64 << 10  # of requests on the long way
MAX_DRAIN_BYTES = 1 << 20  # of a body that the application has refused
DESCRIPTORS_EACH = 2  # a client's connection, and the check that it may ask for
DEADLINES = Deadlines(idle=2, request=10, answer=30)


class Worker(GeventWorker):
    def run(self) -> None:
        self._api = self.wsgi.extensions[API]
        self._limits = ConnectionLimits(DEADLINES, self.worker_connections, DESCRIPTORS_EACH)
        gc.collect()
        gc.freeze()  # what is there now stays: no collection looks at it again
        super().run()

    def server_class(self, listener: Any, **_: Any) -> StreamServer:
        """Return the server of a socket: what gunicorn calls where a worker has servers of its own."""
        return StreamServer(listener, handle=partial(self.handle, listener), spawn=self._limits.pool)

    def notify(self) -> None:
        """Called once a second, by gunicorn."""
        super().notify()
        self._limits.sweep()

    def timeout_ctx(self) -> AbstractContextManager[None]:
        return nullcontext()  # the sweep ends what waits for too long

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        with self._limits.client(client, addr[0]) as limited:
            limited.rest(MAX_HEAD_BYTES)
            try:
                if self._answer_heartbeats(limited):
                    super().handle(listener, limited, addr)
            except SvcError as error:
                limited.refuse(error)

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> None:
        sock.work()
        super().handle_request(listener_name, req, sock, addr)
        if not _drain(req.body):
            raise StopIteration  # the connection ends
        sock.rest(MAX_HEAD_BYTES)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        if isinstance(exc, SvcError):
            client.refuse(exc)
        else:
            super().handle_error(req, client, addr, exc)

    def _answer_heartbeats(self, client: ClientSocket) -> bool:
        """Answer heartbeats for as long as they come; return whether something else has come."""
        while data := _receive(client):
            beat = heartbeat_fast_path.read(data)
            answer = self._beat(client.address, beat) if beat else None
            if beat is None or answer is None:
                client.unread(data)
                return True
            last = beat.last or not self.alive or not self.cfg.keepalive
            client.sendall(heartbeat_fast_path.answer(answer, time.time(), last))
            if last:
                return False
            client.rest(MAX_HEAD_BYTES)
        return False

    def _beat(self, peer: str, beat: heartbeat_fast_path.Heard) -> bytes | None:
        try:
            payload: bytes = self._api.short(peer, beat)
        except Exception:  # noqa: BLE001 - the application meets it too, and reports it
            return None
        return payload


def _receive(client: ClientSocket) -> bytes:
    """Return what comes, up to the end of what may be a heartbeat; nothing when the client is gone, or was silent."""
    data = b""
    while not heartbeat_fast_path.ends(data) and (more := client.recv(heartbeat_fast_path.LIMIT)):
        data += more
    return data


def _drain(body: Any) -> bool:
    """Read what the application has left of a request's body; return whether that was all of it."""
    size = 0
    while data := body.read(8192):
        size += len(data)
        if size > MAX_DRAIN_BYTES:
            return False
    return True
