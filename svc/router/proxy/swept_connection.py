"""A client's connection as the worker's sweep handles it: its stage, its deadline, and the ways to end it."""

import math
import socket
from contextlib import suppress

from svc.perimeter.connections import ConnectionStage
from svc.router.http.sockets import shut, unread_bytes
from svc.router.proxy.arriving_body import READ_TIMEOUT_SECONDS, ArrivingBody
from svc.router.proxy.exchange import Exchange
from svc.router.state import RouterState

IDLE_TIMEOUT_SECONDS = 75.0  # a kept connection without a request is closed after this time
MAX_UNREAD_BYTES = 32 << 10  # unread data after the request; more may fill the TCP window, so that no FIN arrives
MAX_UNREAD_SECONDS = 5.0


class SweptConnection:
    """The part of a client's connection that the sweep calls, from another greenlet, to end whatever is overdue."""

    __slots__ = (
        "_arriving",
        "_blocked_since",
        "_expired",
        "_opened_at",
        "_stalled",
        "_state",
        "_unread_since",
        "address",
        "closing",
        "deadline",
        "exchange",
        "idle",
        "idle_since",
        "sock",
        "streaming",
    )

    def __init__(self, state: RouterState, sock: socket.socket, address: str) -> None:
        self.sock = sock
        self.address = address
        self.exchange: Exchange | None = None  # the exchange of the request being relayed
        self.idle = True  # whether no request is arriving or in progress
        self.streaming = False  # whether the client reads one of the router's own event streams
        self.closing = False
        self.idle_since = self._opened_at = state.now
        self.deadline = state.now + IDLE_TIMEOUT_SECONDS
        self._state = state
        self._arriving: ArrivingBody | None = None  # the body of a request whose head has arrived
        self._blocked_since = 0.0  # when the client stopped reading what is sent to it; 0: it reads
        self._expired = False  # whether the connection's receiving side was shut down
        self._stalled = False  # whether the receiving side was shut down because the body made no progress
        self._unread_since = 0.0  # when the unread bytes after the request became too many; 0: they are not too many

    @property
    def stage(self) -> ConnectionStage:
        """The stage of the connection: idle, reading a request, serving it, or blocked in sending."""
        if self.closing:
            return ConnectionStage.BUSY
        if self._blocked_since:
            return ConnectionStage.SENDING
        if self.exchange is not None or self.streaming:
            return ConnectionStage.BUSY
        if not self.idle:
            return ConnectionStage.REQUEST
        return ConnectionStage.SILENT if self.idle_since == self._opened_at else ConnectionStage.IDLE

    @property
    def since(self) -> float:
        """The time at which the connection's present stage began."""
        if self._blocked_since:
            return self._blocked_since
        return self.idle_since if self.idle else self.deadline - READ_TIMEOUT_SECONDS

    @property
    def buffered_bytes(self) -> int:
        """The number of bytes of memory that the body of an arriving request takes; 0 if there is none."""
        return self._arriving.size if self._arriving is not None else 0

    @property
    def stalled_since(self) -> float:
        """The time at which the arriving body last made progress; inf without a body, and while it waits for memory."""
        return self._arriving.stalled_since if self._arriving is not None else math.inf

    def is_overdue(self, now: float) -> bool:
        """Return whether the deadline has passed. The connection's deadline applies only if there is no exchange."""
        return (self.exchange.deadline if self.exchange is not None else self.deadline) < now

    def expire(self, now: float) -> None:
        """End what is overdue: the idle connection, the arriving request, or the request being relayed."""
        if self.exchange is not None and not self.exchange.interruption:
            self.exchange.interrupt("timeout")
            self.exchange.deadline = now + 1
        elif self._waits_for_memory():
            return  # the queue has a deadline of its own
        elif self.exchange is None and not self._expired:
            self._shut_receiving()
        else:  # the connection's greenlet was woken before, and has not closed the connection: sending is blocked
            self.shut()
        self.deadline = now + 1

    def client_closed(self) -> None:
        """End the request of a client that has left; a half-closed connection counts as closed, as in nginx."""
        if self.exchange is not None and self.exchange.is_tunnel:
            return  # the tunnel reads the end itself, after the client's last bytes
        if self.exchange is not None:
            self.exchange.interrupt("client")
        if self.exchange is not None or self.streaming or self._waits_for_memory():
            self.shut()

    def end_stalled(self) -> None:
        """End a request whose body makes no progress, because other requests wait for the memory that it takes."""
        self._stalled = True
        self._shut_receiving()

    def limit_unread(self, now: float) -> None:
        """End a connection if its client keeps sending after a request: unread bytes hide that the client has left."""
        if self.exchange is None or self.exchange.is_tunnel or unread_bytes(self.sock) <= MAX_UNREAD_BYTES:
            self._unread_since = 0.0
            return
        self._unread_since = self._unread_since or now
        if now - self._unread_since >= MAX_UNREAD_SECONDS:
            self.shed()

    def shed(self) -> None:
        """End the connection, which is idle or whose client does not read, to make room at the connection limit."""
        self.closing = True
        if self.exchange is not None:
            self.exchange.interrupt("client")
        self.shut()

    def shut(self) -> None:
        """Shut the connection down in both directions, which wakes its greenlet."""
        if self._arriving is not None:
            self._arriving.leave_queue()
        with suppress(OSError):
            shut(self.sock)

    def _shut_receiving(self) -> None:
        self._expired = True
        with suppress(OSError):
            shut(self.sock, socket.SHUT_RD)

    def _waits_for_memory(self) -> bool:
        return self._arriving is not None and self._arriving.waiter is not None

    def _note_blocked(self, blocked: bool) -> None:
        """Record that the client has stopped reading what is sent to it, or has begun to read again."""
        self._blocked_since = self._state.now if blocked else 0.0
