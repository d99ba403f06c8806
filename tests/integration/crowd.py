"""Many slow or silent clients, which hold their connections and open new ones when the server closes them."""

import select
import socket
import threading
import time
from contextlib import suppress
from typing import NamedTuple

OPENED_PER_POLL = 50
REOPENED_PER_POLL = 2  # once all have been open
POLL_INTERVAL_SECONDS = 0.05
TRICKLE_INTERVAL_SECONDS = 1.0


class ClientKind(NamedTuple):
    """A slow client: it sends `opening`, and then a byte a second if it `trickles`."""

    opening: bytes
    trickles: bool = False
    reads: bool = True


def kinds(large: str, body_path: str, times: int = 1) -> list[ClientKind]:
    """Return the kinds: silent, half a head, a trickling head, half a body, unread answers, idle after an answer.

    `times` answers of the path `large` are more than a connection buffers.
    """
    whole = "GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n"
    head = f"POST {body_path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n".encode()
    return [
        ClientKind(b""),
        ClientKind(head),
        ClientKind(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Trickle: ", trickles=True),
        ClientKind(head + b"Content-Length: 100\r\n\r\n{"),
        ClientKind(whole.format(large).encode() * times, reads=False),
        ClientKind(whole.format("/health").encode()),
    ]


class Crowd:
    """Holds `count` connections to a port, of each kind by turns, while its context lasts."""

    def __init__(self, port: int, count: int, kinds: list[ClientKind]) -> None:
        self.opened = 0
        self._port, self._count, self._kinds = port, count, kinds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._open: dict[int, tuple[socket.socket, ClientKind]] = {}
        self._poll = select.poll()

    def __enter__(self) -> "Crowd":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(20)
        for sock, _kind in self._open.values():
            sock.close()

    def _run(self) -> None:
        trickled = time.monotonic()
        while not self._over.wait(POLL_INTERVAL_SECONDS):
            to_open = OPENED_PER_POLL if self.opened < self._count else REOPENED_PER_POLL
            for _ in range(min(to_open, self._count - len(self._open))):
                with suppress(OSError):
                    self._add(self._kinds[self.opened % len(self._kinds)])
            for descriptor, _ in self._poll.poll(0):
                self._read(descriptor)
            if time.monotonic() - trickled > TRICKLE_INTERVAL_SECONDS:
                trickled = time.monotonic()
                self._trickle()

    def _add(self, kind: ClientKind) -> None:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(1)
        try:
            sock.connect(("127.0.0.1", self._port))
            sock.send(kind.opening)
        except OSError:
            sock.close()
            raise
        sock.setblocking(False)
        self._open[sock.fileno()] = sock, kind
        self._poll.register(sock, select.POLLRDHUP | (select.POLLIN if kind.reads else 0))
        self.opened += 1

    def _read(self, descriptor: int) -> None:
        """Read what has come; drop the connection if the server has closed it."""
        sock, kind = self._open[descriptor]
        try:
            is_closed = not kind.reads or not sock.recv(65536)
        except OSError:
            is_closed = True
        if is_closed:
            self._poll.unregister(descriptor)
            del self._open[descriptor]
            sock.close()

    def _trickle(self) -> None:
        for sock, kind in self._open.values():
            if kind.trickles:
                with suppress(OSError):
                    sock.send(b"x")
