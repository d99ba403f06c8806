"""The registry's gunicorn worker: heartbeats take a short way, everything else goes through WSGI.

The short way takes a heartbeat that is usual (svc/registry/short.py) and that is
accepted. Any other comes to the application as it was sent: to refuse one does
nothing, so nothing was done yet.
"""

import gc
import time
from typing import Any

import gevent.socket
from gunicorn.workers.ggevent import GeventWorker

from svc.registry import short

API = "svc.registry.api"  # where the application keeps what answers


class Worker(GeventWorker):
    def run(self) -> None:
        self._api = self.wsgi.extensions[API]
        gc.collect()
        gc.freeze()  # what is there now stays: no collection looks at it again
        super().run()

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        try:
            rest = self._beats(client, addr[0])
        except OSError:  # the client broke it off
            rest = b""
        if rest:
            super().handle(listener, Resumed(client, rest), addr)
        else:
            client.close()

    def _beats(self, client: Any, peer: str) -> bytes:
        """Answers heartbeats for as long as they come; returns what came instead of one."""
        while True:
            client.settimeout(self.cfg.keepalive or None)
            data = _receive(client)
            client.settimeout(None)
            heard = short.read(data)
            if heard is None:
                return data
            try:
                told = self._api.short(peer, heard)
            except Exception:  # noqa: BLE001 - the application meets it too, and tells it
                return data
            last = heard.last or not self.alive or not self.cfg.keepalive
            client.sendall(short.answer(told, time.time(), last))
            if last:
                return b""


class Resumed(gevent.socket.socket):
    """A connection on which something was received that is to be received again."""

    def __init__(self, client: Any, data: bytes) -> None:
        super().__init__(client.family, client.type, client.proto, client.detach())
        self._data = data

    def recv(self, size: int, *flags: int) -> bytes:
        if not self._data:
            return super().recv(size, *flags)
        data, self._data = self._data[:size], self._data[size:]
        return data


def _receive(client: Any) -> bytes:
    """What comes, up to the end of what may be a heartbeat; nothing when the client is gone, or silent for long."""
    data = b""
    try:
        while not short.ends(data) and (more := client.recv(short.LIMIT)):
            data += more
    except TimeoutError:
        pass
    return data
