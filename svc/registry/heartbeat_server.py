"""The registry's server: it accepts connections in rounds, and answers the heartbeats of a round as one batch.

    a client connects -> round: accept all, read what has arrived -> heartbeats: one transaction, then the answers
              ^            |                                      -> other requests: `handle`, in a greenlet each
              |            v
              |          ROUND_SECONDS later: the next round
              +--------- no heartbeat has arrived

Nearly all connections to a registry bring one heartbeat. A wake-up of the process, a greenlet, a gevent socket and a
transaction for each connection would cost far more than the heartbeat itself. A round wakes up once, in one greenlet,
and needs one transaction. It uses plain sockets, because it never waits to read or to write. The first round after an
idle time begins at once, so that a registry without load answers at once. The next one begins ROUND_SECONDS later.

A connection that reports the load of an instance stays open for the next report (`kept_connections.py`).
"""

import logging
import socket
from collections.abc import Callable, Sequence
from typing import Any

import gevent
from gevent import monkey
from gevent.pool import Pool
from gevent.server import StreamServer

from svc.registry import heartbeats
from svc.registry.heartbeat_request import RawRequest, read_on, send
from svc.registry.heartbeats import Heartbeat
from svc.registry.kept_connections import KeptConnections

log = logging.getLogger(__name__)
ROUND_SECONDS = 0.02
MAX_ROUND_HEARTBEATS = 64  # the pool does not limit the heartbeats of a round, because it does not count them
DEFER_ACCEPT_SECONDS = 1  # a silent connection is accepted only after this time
ACCEPT_RETRY_SECONDS = 1.0  # pause after a failure, for example for lack of descriptors

_socket_type: Any = monkey.get_original("socket", "socket")


class HeartbeatServer(StreamServer):
    """Accepts the connections of a listening socket in rounds, and passes on to `handle` what is not a usual heartbeat.

    `handle_batch` gets the heartbeats of a round, each with the address of its sender, and returns the JSON of each
    answer, or None for a heartbeat that `handle` has to answer. `closes` returns whether the connection of a heartbeat
    is to be closed after the answer. At most `max_kept` connections that report loads stay open.
    """

    def __init__(
        self,
        listener: Any,
        handle: Callable[[socket.socket, tuple[Any, ...], bytes], object],
        pool: Pool,
        handle_batch: Callable[[Sequence[tuple[str, Heartbeat]]], list[bytes | None]],
        clock: Callable[[], float],
        closes: Callable[[Heartbeat], bool],
        max_kept: int = 0,
    ) -> None:
        super().__init__(listener, handle=handle, spawn=pool)
        # Without this option, a connection would wake the process twice: when it is open, and when its request arrives.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, DEFER_ACCEPT_SECONDS)
        self._handle_request = handle
        self._handle_batch = handle_batch
        self._clock = clock
        self._closes = closes
        self._has_round = False
        self._kept = KeptConnections(max_kept, self._answer_kept)

    def close(self) -> None:
        """Stop accepting, and close the connections that report loads."""
        super().close()
        self._kept.close()

    def do_read(self) -> None:
        """Begin a round; gevent calls this when a client connects and the pool has room for a greenlet."""
        self.stop_accepting()
        if not self._has_round:  # during a round, gevent calls this when the pool, which was full, gets room
            self._has_round = True
            self.pool.spawn(self._run_rounds)

    def _run_rounds(self) -> None:
        try:
            while self.started and (requests := self._accept()):
                self.pool.spawn(self._answer, requests)  # Redis may be slow: the next round does not wait for it
                gevent.sleep(ROUND_SECONDS if len(requests) < MAX_ROUND_HEARTBEATS else 0)
        finally:
            self._has_round = False
            if self.started:
                self.start_accepting()

    def _accept(self) -> list[RawRequest]:
        """Accept the waiting connections, and return those that begin with a heartbeat; pass on the others."""
        accepted: list[RawRequest] = []
        while len(accepted) < MAX_ROUND_HEARTBEATS and not self.pool.full():
            try:
                descriptor, address = self.socket._accept()
            except (BlockingIOError, ConnectionAbortedError):
                break
            except OSError as error:
                log.warning("cannot accept a connection: %s", error.strerror)
                gevent.sleep(ACCEPT_RETRY_SECONDS)
                break
            connection = _socket_type(self.socket.family, self.socket.type, self.socket.proto, descriptor)
            request = read_on(RawRequest(connection, address, b""))
            if request and heartbeats.begins_heartbeat(request.data):
                accepted.append(request)
            elif request:
                self._pass_on(request)
        return accepted

    def _answer(self, requests: list[RawRequest]) -> None:
        """Answer the heartbeats of a round, then read once more from the connections that are still open.

        The second read comes ROUND_SECONDS later: by then, most clients have sent the rest of an incomplete request, or
        have closed a connection that was answered.
        """
        while requests:
            still_open, reporting = self._answer_requests(requests)
            for request in reporting:
                self._kept.add(request)
            if still_open:
                gevent.sleep(ROUND_SECONDS)
            requests = self._completed(still_open)

    def _answer_kept(self, requests: list[RawRequest]) -> list[RawRequest]:
        """Answer the reports that have arrived on kept connections, and return the connections that are still kept.

        A connection with an incomplete report or any other request gets the usual deadlines, like a new one.
        """
        still_open, reporting = self._answer_requests(requests)
        for request in still_open:
            self._pass_on(request)
        return reporting

    def _answer_requests(self, requests: list[RawRequest]) -> tuple[list[RawRequest], list[RawRequest]]:
        """Answer the usual heartbeats and reports of loads.

        Return two lists. The first has the incomplete requests and the connections that stay open after a heartbeat;
        the second has the connections that stay open after a report.

        Pass on all other requests after the answers, because each may wait for a place in the pool. They have changed
        nothing yet. If the store fails, pass on the usual requests, too: `handle` then reports the error.
        """
        parsed = [(request, heartbeats.parse_heartbeat(request.data)) for request in requests]
        usual = [(request, heartbeat) for request, heartbeat in parsed if heartbeat]
        try:
            answers = iter(
                self._handle_batch([(request.address[0], heartbeat) for request, heartbeat in usual]) if usual else ()
            )
        except Exception:  # noqa: BLE001 - `handle` reports the error
            answers = iter([None] * len(usual))
        now = self._clock()
        still_open: list[RawRequest] = []
        reporting: list[RawRequest] = []
        others: list[RawRequest] = []
        for request, heartbeat in parsed:
            payload = next(answers) if heartbeat else None
            if heartbeat and payload:
                closes = self._closes(heartbeat) or (heartbeat.is_load and not self._kept.has_room)
                if send(request.connection, heartbeats.response(payload, now, closes)) and not closes:
                    (reporting if heartbeat.is_load else still_open).append(request._replace(data=b""))
                else:
                    request.connection.close()
            elif heartbeat is None and not heartbeats.is_complete(request.data):
                still_open.append(request)
            else:
                others.append(request)
        for request in others:
            self._pass_on(request)
        return still_open, reporting

    def _completed(self, still_open: list[RawRequest]) -> list[RawRequest]:
        """Return the heartbeats that are complete by now; pass all other open connections on to `handle`."""
        completed = []
        for before in still_open:
            request = read_on(before)
            if request and before.data and heartbeats.is_complete(request.data):
                completed.append(request)
            elif request:
                self._pass_on(request)
        return completed

    def _pass_on(self, request: RawRequest) -> None:
        self.pool.spawn(self._serve, request)

    def _serve(self, request: RawRequest) -> None:
        try:
            self._handle_request(*request)
        finally:
            request.connection.close()
