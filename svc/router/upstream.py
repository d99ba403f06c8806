"""Connections to instances: HTTP/1.1 as the router speaks it to them."""

import select
import socket
import ssl
from collections.abc import Callable

from svc.router.answer import AnswerHead, AnswerReader, UpstreamError
from svc.router.seen import Seen
from svc.router.sock import receiver, sender
from svc.router.sweep import poller, readable
from svc.router.table import Target

CONNECT_TIMEOUT = 5.0  # seconds
IDLE_SECONDS = 60.0
OPTIONS = (  # the kernel asks whether a silent machine is still there, and gives it up after 10 s
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 2),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 10_000),
)


class Upstream(AnswerReader):
    """One connection to an instance, and the answer on it; `relay` takes whole chunks past us (see `sock.pump`)."""

    __slots__ = ("_poll", "_recv", "_send", "_sent", "relay", "since", "sock", "target")

    def __init__(self, target: Target, sock: socket.socket, seen: Seen[AnswerHead] | None = None) -> None:
        super().__init__(seen or Seen())
        self.target = target
        self.sock = sock
        self.since = 0.0
        self.relay: Callable[[], bytes] | None = None
        self._sent = False  # whether the instance's kernel took the whole request
        self._poll = poller()
        self._poll.register(sock.fileno(), select.POLLIN)
        self._recv = receiver(sock)
        self._send = sender(sock)

    def ask(self, message: bytes, head_only: bool) -> None:
        """Sends a whole request. A failure to send is not raised: what the instance says about it comes first."""
        self.begin(head_only)
        self._sent = False
        try:
            self._send(message)
            self._sent = True
        except OSError:
            pass

    def read_head(self) -> AnswerHead:
        """Waits until the answer's head is there; raises UpstreamError."""
        while self.head is None:
            if not self._receive():
                raise UpstreamError("it closed the connection without an answer", processed=not self.untouched)
        return self.head

    def read(self) -> bytes:
        """More of the body, or nothing when it is whole; raises UpstreamError when it was cut."""
        body = self.body
        while not body:
            if self.done:
                return b""
            if not self._receive():
                if self.until_close:
                    self.done = True
                    return b""
                raise UpstreamError("it closed the connection in the middle of its answer", processed=True)
        if len(body) == 1:
            return body.pop()
        data = b"".join(body)
        body.clear()
        return data

    def available(self) -> bool:
        """Whether `read` would answer without waiting."""
        return bool(self.body) or self.done

    def reusable(self) -> bool:
        """Whether another request may be sent on this connection. The only rule for it, before and in the pool.

        1. The request was sent whole: else the instance may still wait for the rest of it.
        2. Its answer leaves the connection fit for another (`reusable_after`).
        3. Nothing of the answer is left: whoever came next would read it.
        4. Nothing more is there to read: its end, or bytes that nobody asked for.
        """
        return self._sent and self.reusable_after() and not self.body and self._quiet()

    def _quiet(self) -> bool:
        """Whether there is nothing to read on the socket, nor inside of TLS. Costs 0.3 us."""
        return not self._poll.poll(0) and not (isinstance(self.sock, ssl.SSLSocket) and self.sock.pending())

    def _receive(self) -> bool:
        if self.between and self.relay is not None:
            data = self.relay()  # an OSError here is its client's
        else:
            try:
                data = self._recv()
            except OSError:
                return False
        if data:
            self.feed(data)
        return bool(data)

    def close(self) -> None:
        self.sock.close()
        self.forget()


class Connections:
    """The idle connections to every instance, the one used last first. Nothing is capped: a cap would throttle."""

    def __init__(self, ca: str = "") -> None:
        self._idle: dict[tuple[str, int, bool], list[Upstream]] = {}
        self._seen: Seen[AnswerHead] = Seen()
        self._ca = ca or None  # the system's
        self._tls: ssl.SSLContext | None = None  # made when first needed: it weighs 600 KB

    def take(self, target: Target, now: float) -> Upstream | None:
        """An idle connection, if there is one that is still reusable."""
        idle = self._idle.get(target.address)
        while idle:
            upstream = idle.pop()
            if upstream.reusable():
                return upstream
            upstream.close()
        return None

    def connect(self, target: Target) -> Upstream:
        """A new connection; raises UpstreamError when there is none to be had within CONNECT_TIMEOUT."""
        try:
            sock = _dial(target.host, target.port)
            for option in OPTIONS:
                sock.setsockopt(*option)
            if target.secure:
                self._tls = self._tls or ssl.create_default_context(cafile=self._ca)
                sock = self._tls.wrap_socket(sock, server_hostname=target.host)
            sock.settimeout(None)
        except TimeoutError:
            raise UpstreamError(f"no connection within {CONNECT_TIMEOUT:g} s", timeout=True) from None
        except OSError as error:
            raise UpstreamError(error.strerror or str(error)) from None
        return Upstream(target, sock, self._seen)

    def give(self, upstream: Upstream, now: float) -> None:
        """Keeps a connection for the next request if it is reusable, or closes it."""
        upstream.relay = None
        if not upstream.reusable():
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


def _dial(host: str, port: int) -> socket.socket:
    """A connection; an address needs no resolver, which under gevent costs twice as much as all the rest."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.inet_pton(family, host)
    except OSError:
        return socket.create_connection((host, port), CONNECT_TIMEOUT)
    sock = socket.socket(family)
    try:
        sock.settimeout(CONNECT_TIMEOUT)
        sock.connect((host, port))
    except BaseException:
        sock.close()
        raise
    return sock
