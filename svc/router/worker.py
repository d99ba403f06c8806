"""The gunicorn worker that relays: connections in, one sweeper over all of them, and an orderly end."""

import gc
import socket
import time
from contextlib import suppress
from functools import partial
from typing import Any

import gevent
from gevent.server import StreamServer
from gunicorn.workers.ggevent import GeventWorker

from svc.perimeter.connection_pool import ConnectionPool, connection_limit
from svc.router.http.sockets import POLLRDHUP, poller, readable
from svc.router.proxy.body_buffers import select_stalled
from svc.router.proxy.client_connection import ClientConnection
from svc.router.proxy.exchange_report import count_running_stream
from svc.router.proxy.trusted_proxies import peer_address
from svc.router.serve import DESCRIPTORS_PER_CLIENT

SWEEP = 0.1  # seconds between two looks at all connections
PRUNE = 1.0  # seconds between two looks at what streams and at idle connections to instances, and two signs of life
IDLE_GRACE = 1.0  # seconds that an idle connection is kept while draining: its client may be about to ask
GARBAGE = (10_000, 20, 50)  # requests leave no cycles behind; looking for them seldom is enough
LAST_WORDS = 2.0  # seconds for what was cut to say so


class RelayWorker(GeventWorker):
    """Takes relayed requests straight to `forward`, without WSGI; the application is our `serve.Application`."""

    def init_process(self) -> None:
        self._open: dict[int, ClientConnection] = {}
        super().init_process()

    def run(self) -> None:
        self._state = self.app.state
        self._poll = poller()
        self.app.start()  # the first table is there before the first connection is taken
        self._context = self.app.tls()
        self._pool = ConnectionPool(
            connection_limit(self.worker_connections, DESCRIPTORS_PER_CLIENT), self._open.values, time.monotonic
        )
        servers = [StreamServer(s, handle=partial(self.handle, s), spawn=self._pool) for s in self.sockets]
        for sock in self.sockets:
            sock.setblocking(1)
        for server in servers:
            server.start()
        gc.collect()
        gc.freeze()  # what is there now stays: no collection looks at it again
        gc.set_threshold(*GARBAGE)
        while self.alive:
            self._tick()
            gevent.sleep(SWEEP)
        self._drain(servers)

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._context is not None:
            with suppress(OSError):  # it has left
                self.relay(self._context.wrap_socket(client, server_side=True, do_handshake_on_connect=False), addr)
        else:
            self.relay(client, addr)

    def relay(self, client: Any, addr: Any) -> None:
        """One connection, watched by the sweeper from its handshake on."""
        connection = ClientConnection(self._state, self.wsgi, client, peer_address(addr[0]))
        descriptor = client.fileno()
        self._open[descriptor] = connection
        self._poll.register(descriptor, POLLRDHUP)
        try:
            if self._context is not None:
                client.do_handshake()
            connection.serve()
        except OSError:  # the client broke it off, or speaks no TLS
            pass
        except Exception:  # noqa: BLE001 - one connection's failure is not the others'
            self.log.exception("a connection failed")
        finally:
            self._poll.unregister(descriptor)
            del self._open[descriptor]
            connection.close()

    def _tick(self) -> None:
        """One sweep: clients that left, deadlines that passed; now and then, a sign of life to the master."""
        state = self._state
        state.now, before = time.monotonic(), state.now
        for descriptor, _ in self._poll.poll(0):
            self._open[descriptor].client_closed()
        for connection in list(self._open.values()):
            if connection.is_overdue(state.now):
                connection.expire(state.now)
        self._pool.shed_if_full()
        if state.buffers.contended and (stalled := select_stalled(self._open.values(), state.now)):
            stalled.end_stalled()
        state.sweep()
        if int(state.now / PRUNE) != int(before / PRUNE):
            for connection in self._open.values():
                if connection.exchange is not None:
                    count_running_stream(connection.exchange)
                connection.limit_unread(state.now)
            state.upstream_pool.prune(state.now)
            self.notify()

    def _drain(self, servers: list[StreamServer]) -> None:
        """The order of the end: stop admitting, let begun requests finish, cut the rest, stop the loops."""
        state = self._state
        state.draining = True
        self.app.pulse.pages.end()
        for server in servers:
            server.close()
        gevent.sleep(0)  # what was just accepted begins
        limit = time.monotonic() + state.settings.graceful_timeout
        while self._open and time.monotonic() < limit:
            self._tick()
            self._close_idle()
            gevent.sleep(SWEEP)
        for connection in self._open.values():
            if connection.exchange is not None:
                connection.exchange.interrupt("stopping")
            else:
                connection.shut()
        limit = time.monotonic() + LAST_WORDS
        while self._open and time.monotonic() < limit:
            gevent.sleep(SWEEP / 10)
            for connection in self._open.values():
                if connection.idle:
                    connection.shut()
        self.app.stop()

    def _close_idle(self) -> None:
        """Those that ask again meanwhile are answered, and told that the connection ends."""
        idle = [c for c in self._open.values() if c.idle and self._state.now - c.idle_since > IDLE_GRACE]
        asking = readable(c.sock.fileno() for c in idle)
        for connection in idle:
            if connection.sock.fileno() not in asking:
                connection.shut()
