"""Instances and clients whose every byte is a step of the test.

One thread accepts connections and reads them; only the test writes, closes and
resets. `Network.wait` blocks until what has arrived fulfils a condition, so that
the order of steps is the order in which the router meets them.
"""

import fcntl
import selectors
import socket
import struct
import termios
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from tests.integration.router.recorded import NONCE
from tests.waiting import wait_until

T = TypeVar("T")
WAIT_SECONDS = 30.0  # until a test fails that waits for bytes
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends a RST
HEALTHY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Network:
    """The thread that reads, and the lock of everything that it fills in."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self._selector = selectors.DefaultSelector()
        self._closed = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def wait(self, condition: Callable[[], T], what: str) -> T:
        with self.changed:
            value = self.changed.wait_for(condition, WAIT_SECONDS)
        assert value, f"not within {WAIT_SECONDS:g} s: {what}"
        return value

    def add(self, sock: socket.socket, readable: Callable[[], None]) -> None:
        with self.changed:
            self._selector.register(sock, selectors.EVENT_READ, readable)

    def remove(self, sock: socket.socket) -> None:
        with self.changed, suppress(KeyError, ValueError):
            self._selector.unregister(sock)

    def close(self) -> None:
        self._closed = True
        self._thread.join()
        self._selector.close()

    def _run(self) -> None:
        while not self._closed:
            events = self._selector.select(0.2)
            with self.changed:
                for key, _ in events:
                    key.data()
                self.changed.notify_all()


class Peer:
    """One end of a connection: `received` holds what has arrived and was not taken, `ended` says that no more comes."""

    def __init__(self, network: Network, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.network = network
        self.received = b""
        self.ended = False
        self.finished = False  # this end sends no more
        self.closed = False
        self._sock = sock
        network.add(sock, self._readable)

    def send(self, data: bytes) -> None:
        """Send bytes; a connection that is broken takes none."""
        with suppress(OSError):
            self._sock.sendall(data)

    def settle(self) -> None:
        """Wait until the kernel of the other end has acknowledged every byte, so that they are readable there."""
        wait_until(
            lambda: self.closed or self.ended or not self._unacknowledged(), WAIT_SECONDS, "acknowledgements", 0.001
        )

    def half_close(self) -> None:
        self.finished = True
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        with self.network.changed:
            self.closed = self.finished = True
            self.network.remove(self._sock)
            self._sock.close()

    def reset(self) -> None:
        with suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.close()

    def _unacknowledged(self) -> int:
        count = bytearray(4)
        try:
            fcntl.ioctl(self._sock, termios.TIOCOUTQ, count)
        except OSError:
            return 0
        return int.from_bytes(count, "little")

    def _readable(self) -> None:
        if self.closed:
            return
        try:
            data = self._sock.recv(1 << 16, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.received += data
        if not data:
            self.ended = True
            self.network.remove(self._sock)
        self._arrived()

    def _arrived(self) -> None:
        """More has been received, or the end."""


class Caller(Peer):
    """A client's connection to the router."""

    def __init__(self, network: Network, port: int) -> None:
        super().__init__(network, socket.create_connection(("127.0.0.1", port), WAIT_SECONDS))


class Attempt:
    """One request as an instance receives it; `whole` once its body is there too."""

    def __init__(self, connection: "InstanceConnection", head: bytes) -> None:
        self.connection = connection
        self.head = head
        self.body = bytearray()
        self.whole = False

    @property
    def head_only(self) -> bool:
        return self.head.startswith(b"HEAD ")


class InstanceConnection(Peer):
    """A connection of the router to an instance. GET /health is answered apart."""

    def __init__(self, instance: "Instance", sock: socket.socket) -> None:
        self.instance = instance
        self.attempts: list[Attempt] = []
        self.paused = False
        super().__init__(instance.network, sock)

    @property
    def live(self) -> bool:
        """Whether bytes can still go to the router."""
        return not self.ended and not self.finished

    def resume(self) -> None:
        """Read on, after a head at which reading paused."""
        if self.paused:
            self.paused = False
            with suppress(ValueError, KeyError):
                self.network.add(self._sock, self._readable)

    def _arrived(self) -> None:
        while self.received:
            if not self.attempts or self.attempts[-1].whole:
                head, mark, rest = self.received.partition(b"\r\n\r\n")
                if not mark:
                    return
                self.received = rest
                if head.startswith(b"GET /health "):
                    self.send(HEALTHY)
                    continue
                self._begin(Attempt(self, head))
            attempt = self.attempts[-1]
            missing = _length(attempt.head) - len(attempt.body)
            attempt.body += self.received[:missing]
            self.received = self.received[missing:]
            if len(attempt.body) < _length(attempt.head):
                return
            attempt.whole = True
            self.instance.arrived(attempt)

    def _begin(self, attempt: Attempt) -> None:
        self.attempts.append(attempt)
        if b"X-Pause: yes" in attempt.head:
            self.paused = True
            self.network.remove(self._sock)
            self.instance.arrived(attempt)
        if not _length(attempt.head):
            attempt.whole = True
            self.instance.arrived(attempt)


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b": ")
        if name.lower() == b"content-length":
            return int(value)
    return 0


class Instance:
    """Accepts the router's connections and keeps every request under its nonce in `attempts`.

    A request with the header `X-Pause: yes` is read no further than its head, until its connection resumes.
    """

    def __init__(self, network: Network, attempts: dict[bytes, list[Attempt]]) -> None:
        self.network = network
        self.attempts = attempts
        self.connections: list[InstanceConnection] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listener.getsockname()[1]
        network.add(self._listener, self._accept)

    def arrived(self, attempt: Attempt) -> None:
        nonce = NONCE.search(attempt.head) or NONCE.search(attempt.body)
        if nonce:
            attempts = self.attempts.setdefault(nonce[0], [])
            if attempt not in attempts:
                attempts.append(attempt)

    def hang_up(self) -> None:
        """Close every connection."""
        with self.network.changed:
            for connection in self.connections:
                connection.close()
            self.connections.clear()

    def close(self) -> None:
        self.network.remove(self._listener)
        self._listener.close()
        self.hang_up()

    def _accept(self) -> None:
        sock, _ = self._listener.accept()
        self.connections.append(InstanceConnection(self, sock))
