"""The gunicorn worker that relays requests: it accepts connections, sweeps them, and shuts down in order."""

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
from svc.router.proxy.body_buffers import keep_freed_memory, select_stalled
from svc.router.proxy.client_connection import ClientConnection
from svc.router.proxy.exchange_report import count_running_stream
from svc.router.proxy.handover import Handover
from svc.router.proxy.record_folding import fold_records
from svc.router.proxy.trusted_proxies import peer_address
from svc.router.proxy.waiting_stream import keep_waiting_streams
from svc.router.serve import DESCRIPTORS_PER_CLIENT

SWEEP_INTERVAL_SECONDS = 0.1  # time between two sweeps of all connections
PRUNE_INTERVAL_SECONDS = 1.0  # time between two rounds of the work that the sweep does less often
IDLE_GRACE_SECONDS = 1.0  # a draining worker keeps idle connections this long: a client may be sending a request
GC_THRESHOLDS = (10_000, 20, 50)  # requests leave no reference cycles behind, so collections may be rare
ERROR_TIMEOUT_SECONDS = 2.0  # time in which interrupted requests can send their errors before the worker ends


class RelayWorker(GeventWorker):
    """The worker that passes requests to `forward` without WSGI. Its application is `serve.RouterApplication`."""

    def init_process(self) -> None:
        self._open: dict[int, ClientConnection] = {}
        super().init_process()

    def run(self) -> None:
        keep_freed_memory()
        components = self.app.components
        self._state = components.state
        self._poll = poller()
        self._handover = Handover(self._state.balancer)
        components.start()
        while self.alive and not components.can_accept():
            self.notify()
            gevent.sleep(SWEEP_INTERVAL_SECONDS)
        self._answer = components.answerer(self.wsgi)
        self._context = self.app.tls()
        self._pool = ConnectionPool(
            connection_limit(self.worker_connections, DESCRIPTORS_PER_CLIENT), self._open.values, time.monotonic
        )
        servers = [StreamServer(s, handle=partial(self.handle, s), spawn=self._pool) for s in self.sockets]
        for sock in self.sockets:
            sock.setblocking(1)
        for server in servers:
            server.max_accept = self.app.max_accept
            server.start()
        gc.freeze()  # these objects live until the end: no collection examines them again
        gc.set_threshold(*GC_THRESHOLDS)
        while self.alive:
            self._tick()
            gevent.sleep(SWEEP_INTERVAL_SECONDS)
        self._shut_down(servers)

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._context is not None:
            with suppress(OSError):  # the client has left
                self.relay(self._context.wrap_socket(client, server_side=True, do_handshake_on_connect=False), addr)
        else:
            self.relay(client, addr)

    def relay(self, client: Any, addr: Any) -> None:
        """Serve one connection until it ends. The sweep also ends a TLS handshake that takes too long."""
        connection = ClientConnection(self._state, self._answer, client, peer_address(addr[0]))
        descriptor = client.fileno()
        self._open[descriptor] = connection
        self._poll.register(descriptor, POLLRDHUP)
        try:
            if self._context is not None:
                client.do_handshake()
            connection.serve()
        except OSError:  # the client broke the connection off, or does not use TLS
            pass
        except Exception:  # noqa: BLE001 - the failure of one connection must not end the others
            self.log.exception("a connection failed")
        finally:
            self._poll.unregister(descriptor)
            del self._open[descriptor]
            connection.close()

    def _tick(self) -> None:
        """Sweep once: end the requests of clients that have left, and the reads, writes and waits that are overdue.

        Once a second, also count the tokens of streams, close stale idle connections, and notify gunicorn's master.
        """
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
        fold_records(connection.exchange for connection in self._open.values())
        state.sweep()
        if int(state.now / PRUNE_INTERVAL_SECONDS) != int(before / PRUNE_INTERVAL_SECONDS):
            for connection in self._open.values():
                if connection.exchange is not None:
                    count_running_stream(connection.exchange)
                connection.limit_unread(state.now)
            if state.balancer.queue.waiting:
                keep_waiting_streams(self._open.values())
            self._hand_over()
            state.upstream_pool.prune(state.now)
            self.notify()

    def _hand_over(self) -> None:
        """Move streams away from the instances that hand over, if there are any."""
        state = self._state
        if state.handovers or state.balancer.table.handovers:
            exchanges = [c.exchange for c in self._open.values() if c.exchange is not None]
            state.handovers = self._handover.move(exchanges)

    def _shut_down(self, servers: list[StreamServer]) -> None:
        """Shut down: accept no more connections, wait for begun requests, interrupt the rest, stop the components."""
        state = self._state
        state.draining = True
        self.app.components.end_streams()
        for server in servers:
            server.close()
        gevent.sleep(0)  # starts the greenlets of connections that were just accepted
        limit = time.monotonic() + state.settings.graceful_timeout
        while self._open and time.monotonic() < limit:
            self._tick()
            self._close_idle()
            gevent.sleep(SWEEP_INTERVAL_SECONDS)
        for connection in self._open.values():
            if connection.exchange is not None:
                connection.exchange.interrupt("stopping")
            else:
                connection.shut()
        limit = time.monotonic() + ERROR_TIMEOUT_SECONDS
        while self._open and time.monotonic() < limit:
            gevent.sleep(SWEEP_INTERVAL_SECONDS / 10)
            for connection in self._open.values():
                if connection.idle:
                    connection.shut()
        self.app.components.stop()

    def _close_idle(self) -> None:
        """Close idle connections, except those on which a request has arrived.

        Such a request is answered with `Connection: close`, and then the connection ends.
        """
        idle = [c for c in self._open.values() if c.idle and self._state.now - c.idle_since > IDLE_GRACE_SECONDS]
        with_request = readable(c.sock.fileno() for c in idle)
        for connection in idle:
            if connection.sock.fileno() not in with_request:
                connection.shut()
