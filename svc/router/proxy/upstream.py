"""Connections to instances over HTTP/1.1, and the pool of idle ones."""

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
from svc.router.http.sockets import pair_sender, poller, readable, receiver, sender
from svc.router.http.stream_poll import StreamPoll
from svc.router.http.upstream_error import AttemptOutcome, UpstreamError

CONNECT_TIMEOUT_SECONDS = 5.0
SIOCOUTQNSD = 0x894B  # ioctl: the number of bytes that a TCP socket has not sent yet
LIVENESS_TIMEOUT_SECONDS = 1.0  # limit for an instance to accept a connection or refuse it
LIVENESS_INTERVAL_SECONDS = 0.1  # time between the first and the second attempt to connect
IDLE_TIMEOUT_SECONDS = 60.0
SOCKET_OPTIONS = (  # with these, the kernel probes a silent machine, and gives up after 10 s
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 2),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 10_000),
)


class UpstreamConnection(ResponseParser):
    """One connection to an instance, and the response that arrives on it.

    `relay`, if it is set, receives bytes and passes whole chunks on to the client by itself (see `sockets.pump`).
    """

    __slots__ = (
        "_recv",
        "_send",
        "_send_pair",
        "_was_reset",
        "aborted",
        "relay",
        "sent",
        "idle_since",
        "sock",
        "target",
        "poll_readable",
    )

    def __init__(self, target: Target, sock: socket.socket, head_cache: HeadCache[ResponseHead] | None = None) -> None:
        super().__init__(head_cache or HeadCache())
        self.target = target
        self.sock = sock
        self.idle_since = 0.0
        self.relay: Callable[[], bytes] | None = None
        self.aborted = False  # whether the connection was broken off, so that its end is not the end of a response
        self.sent = False  # whether the kernel has taken the whole request
        self._was_reset = False  # whether the instance reset the connection
        self.poll_readable = _readable_poll(sock)
        self._recv = receiver(sock)
        self._send = sender(sock)
        self._send_pair = pair_sender(sock)

    def send_request(self, message: bytes, head_only: bool, upgrade: bool = False, body: bytes = b"") -> None:
        """Send a whole request. `message`: its head, and its body unless that is given as `body`.

        A failure to send is not raised: the instance may have sent a response before it closed the connection.
        """
        self.begin(head_only, upgrade)
        self.sent = False
        try:
            if body:
                self._send_pair(message, body)
            else:
                self._send(message)
            self.sent = True
        except BrokenPipeError:  # the instance closed the connection in order
            pass
        except OSError:  # noted: the kernel reports a reset once, and afterwards a normal end
            self.aborted = True

    def read_head(self) -> ResponseHead:
        """Wait for the response's head and return it; raise UpstreamError if none arrives."""
        while self.head is None:
            if not self._receive():
                raise self._closed_error()
        return self.head

    def read(self) -> bytes:
        """Return the next part of the body, empty at its end; raise UpstreamError for a truncated body."""
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

    def hold_body(self, limit: int, note_progress: Callable[[int], None]) -> None:
        """Wait until the whole body has arrived, or `limit` bytes of it; `read` then returns them.

        `note_progress` is called for each piece, with 0, because `read` counts the bytes. Raise UpstreamError if the
        connection ends before that. As nothing was passed on yet, the outcome is that of an attempt without a response.
        """
        size = counted = 0
        while True:
            size += sum(map(len, self.body[counted:]))
            counted = len(self.body)
            if self.done or size >= limit:
                return
            if not self._receive():
                raise UpstreamError("it closed the connection in the middle of its answer", AttemptOutcome.UNKNOWN)
            note_progress(0)

    def available(self) -> bool:
        """Return whether `read` would return without waiting."""
        return bool(self.body) or self.done

    def _closed_error(self) -> UpstreamError:
        """Return the error for a connection that ended before the whole head of the response arrived."""
        if not self.nothing_received:
            return UpstreamError("it closed the connection in the middle of its answer's head", AttemptOutcome.BEGUN)
        if not self.sent or self._is_unacknowledged():
            return UpstreamError("it closed the connection before it took the request", AttemptOutcome.UNSENT)
        return UpstreamError(
            "it closed the connection without an answer",
            AttemptOutcome.UNKNOWN,
            reset=self._was_reset,
            closed=not self.aborted,
        )

    def _is_unacknowledged(self) -> bool:
        """Return whether the instance's kernel has left a part of the request unacknowledged.

        If the instance closes an idle connection just as a request arrives, the kernel of the instance's machine never
        acknowledges the request. After a reset, a missing acknowledgement proves nothing, because the reset may have
        overtaken it: then only bytes that were never sent count as unacknowledged.
        """
        queue = SIOCOUTQNSD if self._was_reset else termios.TIOCOUTQ
        with suppress(OSError):
            return any(fcntl.ioctl(self.sock.fileno(), queue, bytes(4)))
        return False

    def _receive(self) -> bool:
        if self.at_chunk_boundary and self.relay is not None:
            data = self.relay()  # an OSError here comes from the client's connection
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
        self.release_parser()


class UpstreamPool:
    """The idle connections to all instances, unlimited in number. The connection used last is taken first.

    Another request is sent on a connection only if

    1. the previous request was sent whole: otherwise the instance may still wait for the rest of it;
    2. its response is `persistent`: it was read to its end, allows another message, and no byte follows it;
    3. no part of the response is still unread: the next request would read it;
    4. nothing more can be read: neither the connection's end nor bytes that belong to no response.

    `release` checks 1 to 3 before it keeps a connection. `take` checks 4, which can change while a connection is idle.
    """

    def __init__(self, ca: str = "") -> None:
        self._idle: dict[tuple[str, int, bool], list[UpstreamConnection]] = {}
        self._head_cache: HeadCache[ResponseHead] = HeadCache()
        self._networks = AllowedNetworks()
        self._ca = ca or None  # None: the system's CA certificates
        self._stream_poll: StreamPoll | None = None
        self._tls: ssl.SSLContext | None = None  # created when first needed: it takes 600 KB

    def take(self, target: Target) -> UpstreamConnection | None:
        """Remove and return an idle connection that the instance has not closed; None if there is none."""
        idle = self._idle.get(target.address)
        while idle:
            upstream = idle.pop()
            if not upstream.poll_readable(0):  # condition 4 of the class
                return upstream
            upstream.close()
        return None

    def connect(self, target: Target) -> UpstreamConnection:
        """Return a new connection; raise UpstreamError if it is not established within CONNECT_TIMEOUT_SECONDS."""
        try:
            sock = dial(
                target.host,
                target.port,
                CONNECT_TIMEOUT_SECONDS,
                None if target.static else self._networks.rejection_reason,
            )
            for option in SOCKET_OPTIONS:
                sock.setsockopt(*option)
            if target.secure:
                self._tls = self._tls or ssl.create_default_context(cafile=self._ca)
                sock = self._tls.wrap_socket(sock, server_hostname=target.host)
            sock.settimeout(None)
        except TimeoutError:
            raise UpstreamError(
                f"no connection within {CONNECT_TIMEOUT_SECONDS:g} s", AttemptOutcome.UNSENT, timeout=True
            ) from None
        except OSError as error:
            # Closing the idle connections frees enough descriptors, because the number of clients is limited.
            if error.errno == errno.EMFILE and self._idle:
                self.close()
                return self.connect(target)
            refused = isinstance(error, ConnectionRefusedError)
            raise UpstreamError(error.strerror or str(error), AttemptOutcome.UNSENT, refused=refused) from None
        return UpstreamConnection(target, sock, self._head_cache)

    def release(self, upstream: UpstreamConnection, now: float) -> None:
        """Keep a connection for the next request, or close it if it cannot carry another request."""
        if upstream.relay is not None:
            upstream.relay = None
            self.stream_poll().remove(upstream.sock.fileno())
        if not (upstream.sent and upstream.persistent) or upstream.body:  # conditions 1 to 3 of the class
            upstream.close()
            return
        upstream.idle_since = now
        idle = self._idle.get(upstream.target.address)
        if idle is None:
            idle = self._idle[upstream.target.address] = []
        idle.append(upstream)

    def prune(self, now: float) -> None:
        """Close the idle connections that the instance has closed, and those that were idle for too long."""
        for key in list(self._idle):
            idle = self._idle.pop(key)  # removed first: with real threads, another thread could take one of these
            stale = readable(u.sock.fileno() for u in idle)
            usable = [u for u in idle if u.sock.fileno() not in stale and now - u.idle_since < IDLE_TIMEOUT_SECONDS]
            for upstream in set(idle) - set(usable):
                upstream.close()
            if usable:
                self._idle.setdefault(key, [])[:0] = usable

    def stream_poll(self) -> StreamPoll:
        """Return the poll of the running streams."""
        if self._stream_poll is None:
            self._stream_poll = StreamPoll()
        return self._stream_poll

    def idle_count(self) -> int:
        return sum(map(len, self._idle.values()))

    def close(self) -> None:
        for idle in self._idle.values():
            for upstream in idle:
                upstream.close()
        self._idle.clear()


def _readable_poll(sock: socket.socket) -> Callable[[int], object]:
    """Return a function that waits for bytes to read.

    Its argument is the maximum wait in milliseconds. A call with 0 takes 0.3 us.
    """
    poll = poller()
    poll.register(sock.fileno(), select.POLLIN)
    return (lambda wait: sock.pending() or poll.poll(wait)) if isinstance(sock, ssl.SSLSocket) else poll.poll


def refuses_connections(target: Target) -> bool:
    """Return whether an instance that has just closed a connection refuses new ones, which proves that it has died.

    A process that ends may close its connections a moment before its listening socket. So if the first attempt to
    connect succeeds, a second one follows, which delays the request by a tenth of a second.
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
