"""Connections to instances: HTTP/1.1 as the router speaks it to them."""

import errno
import fcntl
import select
import socket
import ssl
import termios
import time
from collections.abc import Callable
from contextlib import suppress

from svc.base.dial import dial
from svc.perimeter.networks import AllowedNetworks
from svc.router.balance.target import Target
from svc.router.http.head_cache import HeadCache
from svc.router.http.response_parser import ResponseHead, ResponseParser
from svc.router.http.sockets import poller, readable, receiver, sender
from svc.router.http.upstream_error import AttemptOutcome, UpstreamError

CONNECT_TIMEOUT = 5.0  # seconds
SIOCOUTQNSD = 0x894B  # ioctl: bytes of a TCP socket that were not sent yet
LIVENESS_TIMEOUT_SECONDS = 1.0  # in which an instance must take a connection or refuse it
LIVENESS_INTERVAL_SECONDS = 0.1  # between two looks
IDLE_SECONDS = 60.0
OPTIONS = (  # the kernel asks whether a silent machine is still there, and gives it up after 10 s
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 2),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 10_000),
)


class UpstreamConnection(ResponseParser):
    """One connection to an instance, and the answer on it; `relay` takes whole chunks past us (see `sock.pump`)."""

    __slots__ = ("_recv", "_send", "_was_reset", "aborted", "relay", "sent", "since", "sock", "target", "unread")

    def __init__(self, target: Target, sock: socket.socket, seen: HeadCache[ResponseHead] | None = None) -> None:
        super().__init__(seen or HeadCache())
        self.target = target
        self.sock = sock
        self.since = 0.0
        self.relay: Callable[[], bytes] | None = None
        self.aborted = False  # whether it was broken off, by either side: its end is no end of an answer then
        self.sent = self._was_reset = False  # whether our kernel has the whole request; whether the instance reset it
        self.unread = _unread(sock)
        self._recv = receiver(sock)
        self._send = sender(sock)

    def send_request(self, message: bytes, head_only: bool, upgrade: bool = False, body: bytes = b"") -> None:
        """Sends a whole request, of which `body` is a part that is not in `message`.

        A failure to send is not raised: what the instance says about it comes first.
        """
        self.begin(head_only, upgrade)
        self.sent = False
        try:
            self._send(message)
            if body:
                self._send(body)
            self.sent = True
        except OSError:
            pass

    def read_head(self) -> ResponseHead:
        """Waits until the answer's head is there; raises UpstreamError."""
        while self.head is None:
            if not self._receive():
                raise self._closed_error()
        return self.head

    def read(self) -> bytes:
        """More of the body, or nothing when it is whole; raises UpstreamError when it was cut."""
        body = self.body
        while not body:
            if self.done:
                return b""
            if not self._receive():
                if self.until_close and not self.aborted:
                    self.done = True
                    return b""
                raise UpstreamError("it closed the connection in the middle of its answer", AttemptOutcome.BEGUN)
        if len(body) == 1:
            return body.pop()
        data = b"".join(body)
        body.clear()
        return data

    def available(self) -> bool:
        """Whether `read` would answer without waiting."""
        return bool(self.body) or self.done

    def _closed_error(self) -> UpstreamError:
        """Return what a connection that ended before the answer's head means for the request."""
        if not self.untouched:
            return UpstreamError("it closed the connection in the middle of its answer's head", AttemptOutcome.BEGUN)
        if not self.sent or self._is_unacknowledged():
            return UpstreamError("it closed the connection before it took the request", AttemptOutcome.UNSENT)
        return UpstreamError(
            "it closed the connection without an answer", AttemptOutcome.UNKNOWN, reset=self._was_reset
        )

    def _is_unacknowledged(self) -> bool:
        """Whether the instance's kernel has not acknowledged the whole request.

        An instance that closes an idle connection in the moment in which the request comes never acknowledges it. A
        reset overtakes acknowledgements: only what was not even sent counts then.
        """
        queue = SIOCOUTQNSD if self._was_reset else termios.TIOCOUTQ
        with suppress(OSError):
            return any(fcntl.ioctl(self.sock.fileno(), queue, bytes(4)))
        return False

    def _receive(self) -> bool:
        if self.between and self.relay is not None:
            data = self.relay()  # an OSError here is its client's
        else:
            try:
                data = self._recv()
            except OSError as error:
                self._was_reset = isinstance(error, ConnectionResetError)
                self.aborted = True
                return False
        if data:
            self.feed(data)
        return bool(data)

    def close(self) -> None:
        self.sock.close()
        self.forget()


class UpstreamPool:
    """The idle connections to every instance, the one used last first. Nothing is capped: a cap would throttle.

    Another request is sent on a connection only when

    1. the one before was sent whole: else the instance may still wait for the rest of it;
    2. its answer is `persistent`: read to its end, of a kind that allows another message, and with no byte behind it;
    3. nothing of the answer is left: the next request would read it;
    4. nothing more is there to read: the connection's end, or bytes of no answer.

    1 to 3 are settled when it is given back; 4 can change as long as it is idle, so it is looked at when it is taken.
    """

    def __init__(self, ca: str = "") -> None:
        self._idle: dict[tuple[str, int, bool], list[UpstreamConnection]] = {}
        self._seen: HeadCache[ResponseHead] = HeadCache()
        self._networks = AllowedNetworks()
        self._ca = ca or None  # the system's
        self._tls: ssl.SSLContext | None = None  # made when first needed: it weighs 600 KB

    def take(self, target: Target) -> UpstreamConnection | None:
        """Return an idle connection to which nothing has come meanwhile, None where there is none."""
        idle = self._idle.get(target.address)
        while idle:
            upstream = idle.pop()
            if not upstream.unread(0):  # 4
                return upstream
            upstream.close()
        return None

    def connect(self, target: Target) -> UpstreamConnection:
        """A new connection; raises UpstreamError when there is none to be had within CONNECT_TIMEOUT."""
        try:
            sock = dial(
                target.host, target.port, CONNECT_TIMEOUT, None if target.static else self._networks.rejection_reason
            )
            for option in OPTIONS:
                sock.setsockopt(*option)
            if target.secure:
                self._tls = self._tls or ssl.create_default_context(cafile=self._ca)
                sock = self._tls.wrap_socket(sock, server_hostname=target.host)
            sock.settimeout(None)
        except TimeoutError:
            raise UpstreamError(
                f"no connection within {CONNECT_TIMEOUT:g} s", AttemptOutcome.UNSENT, timeout=True
            ) from None
        except OSError as error:
            if error.errno == errno.EMFILE and self._idle:  # clients are limited so that the rest is enough
                self.close()
                return self.connect(target)
            refused = isinstance(error, ConnectionRefusedError)
            raise UpstreamError(error.strerror or str(error), AttemptOutcome.UNSENT, refused=refused) from None
        return UpstreamConnection(target, sock, self._seen)

    def give(self, upstream: UpstreamConnection, now: float) -> None:
        """Keeps a connection for the next request, or closes it where there may be none."""
        upstream.relay = None
        if not (upstream.sent and upstream.persistent) or upstream.body:  # 1, 2, 3
            upstream.close()
            return
        upstream.since = now
        idle = self._idle.get(upstream.target.address)
        if idle is None:
            idle = self._idle[upstream.target.address] = []
        idle.append(upstream)

    def prune(self, now: float) -> None:
        """Closes what its peer has closed, and what was idle for long."""
        for key in list(self._idle):
            idle = self._idle.pop(key)  # first of all: with real threads, nobody else takes one of these meanwhile
            stale = readable(u.sock.fileno() for u in idle)
            kept = [u for u in idle if u.sock.fileno() not in stale and now - u.since < IDLE_SECONDS]
            for upstream in set(idle) - set(kept):
                upstream.close()
            if kept:
                self._idle.setdefault(key, [])[:0] = kept

    def idle_count(self) -> int:
        return sum(map(len, self._idle.values()))

    def close(self) -> None:
        for idle in self._idle.values():
            for upstream in idle:
                upstream.close()
        self._idle.clear()


def _unread(sock: socket.socket) -> Callable[[int], object]:
    """Return what to call to learn whether there is something to read within so many milliseconds: 0.3 us for 0."""
    poll = poller()
    poll.register(sock.fileno(), select.POLLIN)
    return (lambda wait: sock.pending() or poll.poll(wait)) if isinstance(sock, ssl.SSLSocket) else poll.poll


def refuses_connections(target: Target) -> bool:
    """Whether an instance that has just closed a connection refuses new ones, as one does that has died.

    A process that ends may close its connections a moment before its listening socket: hence a second look, which
    delays the request by a tenth of a second where the instance lives.
    """
    for pause in (0.0, LIVENESS_INTERVAL_SECONDS):
        time.sleep(pause)
        try:
            dial(target.host, target.port, LIVENESS_TIMEOUT_SECONDS).close()
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False
