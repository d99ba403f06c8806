"""Connections to instances, and the reading of their answers: HTTP/1.1 as the router speaks it to them."""

import socket
import ssl
from typing import Any

import httptools

from svc.router.message import unnamed
from svc.router.sock import receiver, sender
from svc.router.sweep import readable
from svc.router.table import Target

CONNECT_TIMEOUT = 5.0  # seconds
HEADER_LIMIT = 64 << 10
IDLE_SECONDS = 60.0
FRESH = 0.3  # seconds that an idle connection is trusted without a look at it

# Meant for us alone (RFC 9110, 7.6.1), or written anew for the client.
NOT_PASSED = frozenset(
    b"connection keep-alive proxy-connection te trailer transfer-encoding upgrade proxy-authenticate "
    b"content-length x-request-id".split()
)


class UpstreamError(Exception):
    """An instance could not be asked, or did not answer as HTTP does; `processed` when it may have done the work."""

    def __init__(self, message: str, *, processed: bool = False, timeout: bool = False) -> None:
        super().__init__(message)
        self.processed = processed
        self.timeout = timeout


class Upstream:
    """One connection to an instance. Bytes of the answer's body gather until `read` takes them."""

    __slots__ = (
        "_body", "_chunked", "_head_only", "_interim", "_named", "_parser", "_recv", "_send", "_size", "_until_close",
        "done", "headers", "keep", "length", "reason", "since", "sock", "status", "target", "untouched",
    )  # fmt: skip

    def __init__(self, target: Target, sock: socket.socket) -> None:
        self.target = target
        self.sock = sock
        self.since = 0.0
        self._recv = receiver(sock)
        self._send = sender(sock)
        self._parser: Any = httptools.HttpResponseParser(self)
        self._begin(False)

    def _begin(self, head_only: bool) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.status = 0
        self.reason = b""
        self.length: int | None = None
        self._chunked = False
        self.done = False
        self.keep = False
        self.untouched = True  # not a byte of an answer has come
        self._body: list[bytes] = []
        self._named = b""
        self._interim = False
        self._until_close = False
        self._head_only = head_only
        self._size = 0

    def ask(self, message: bytes, head_only: bool) -> None:
        """Sends a whole request. A failure to send is not raised: what the instance says about it comes first."""
        self._begin(head_only)
        try:  # noqa: SIM105 - suppress() costs ten times as much
            self._send(message)
        except OSError:
            pass

    def read_head(self) -> None:
        """Waits until the answer's head is there; raises UpstreamError."""
        while not self.status:
            if not self._receive():
                raise UpstreamError("it closed the connection without an answer", processed=not self.untouched)

    def read(self) -> bytes:
        """More of the body, or nothing when it is whole; raises UpstreamError when it was cut."""
        body = self._body
        while not body:
            if self.done:
                return b""
            if not self._receive():
                if self._until_close:
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
        return bool(self._body) or self.done

    def _receive(self) -> bool:
        try:
            data = self._recv()
        except OSError:
            return False
        if not data:
            return False
        self.untouched = False
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.keep = False
            if not self.done:
                raise UpstreamError(f"its answer is not HTTP: {error.__context__ or error}", processed=True) from None
        if not self.status:
            self._size += len(data)
            if self._size > HEADER_LIMIT:
                raise UpstreamError(f"the head of its answer is over {HEADER_LIMIT} bytes", processed=True)
        return True

    def close(self) -> None:
        self.sock.close()
        self._parser = None  # it refers to us

    # What llhttp calls.

    def on_message_begin(self) -> None:
        if self.done:
            raise ValueError("more than one answer")
        self.headers = []  # what an interim answer said goes with it
        self.reason = self._named = b""
        self.length, self._chunked = None, False

    def on_status(self, reason: bytes) -> None:
        self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.status:
            return  # trailers end here
        key = name.lower()
        if key not in NOT_PASSED:
            self.headers.append((name, value))
        elif key == b"content-length":
            self.length = int(value)
        elif key == b"transfer-encoding":
            if value.strip().lower() != b"chunked":
                raise ValueError("a transfer coding that nobody asked for")
            self._chunked = True
        elif key == b"connection":
            self._named = value.lower()

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status == 101:
            raise ValueError("it switches protocols unasked")
        if status < 200:
            self._interim = True
            return
        self.status = status
        if self._named and self._named not in (b"close", b"keep-alive"):
            self.headers = list(unnamed(self.headers, self._named))
        if status == 204:
            self.length = None
        if self._head_only:
            self.done = True  # and the parser waits for a body: this connection is not used again
        elif self.length is None and not self._chunked and status not in (204, 304):
            self._until_close = True

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_message_complete(self) -> None:
        if self._interim:
            self._interim = False
            return
        self.done = True
        self.keep = self._parser.should_keep_alive()


class Connections:
    """The idle connections to every instance, the one used last first. Nothing is capped: a cap would throttle."""

    def __init__(self, ca: str = "") -> None:
        self._idle: dict[tuple[str, int, bool], list[Upstream]] = {}
        self._ca = ca or None  # the system's
        self._tls: ssl.SSLContext | None = None  # made when first needed: it weighs 600 KB

    def take(self, target: Target, now: float) -> Upstream | None:
        """An idle connection, if there is one; on one that is readable its peer has said goodbye."""
        idle = self._idle.get(target.address)
        while idle:
            upstream = idle.pop()
            if now - upstream.since < FRESH or not readable([upstream.sock.fileno()]):
                return upstream
            upstream.close()
        return None

    def connect(self, target: Target) -> Upstream:
        """A new connection; raises UpstreamError when there is none to be had within CONNECT_TIMEOUT."""
        try:
            sock = socket.create_connection((target.host, target.port), CONNECT_TIMEOUT)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if target.secure:
                self._tls = self._tls or ssl.create_default_context(cafile=self._ca)
                sock = self._tls.wrap_socket(sock, server_hostname=target.host)
            sock.settimeout(None)
        except TimeoutError:
            raise UpstreamError(f"no connection within {CONNECT_TIMEOUT:g} s", timeout=True) from None
        except OSError as error:
            raise UpstreamError(error.strerror or str(error)) from None
        return Upstream(target, sock)

    def give(self, upstream: Upstream, now: float) -> None:
        """Keeps a connection whose answer is whole for the next request, or closes it."""
        if not (upstream.done and upstream.keep):
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
