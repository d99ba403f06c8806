"""A crowd of clients that hold connections and ask for nothing, or slowly, and come again when they are closed."""

import select
import socket
import threading
import time
from contextlib import suppress
from typing import NamedTuple

OPENED_AT_ONCE = 50
OPENED_AGAIN = 2  # at each look, once all have been open
LOOK_SECONDS = 0.05
TRICKLE_SECONDS = 1.0


class Kind(NamedTuple):
    """What a client sends first; `trickles`: and a byte a second after it."""

    opening: bytes
    trickles: bool = False
    reads: bool = True


def kinds(large: str, body_path: str, times: int = 1) -> list[Kind]:
    """Silent, half a head, trickling, half a body, reading no answer, idle after an answer.

    `times` answers of `large` are more than a connection buffers.
    """
    whole = "GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n"
    head = f"POST {body_path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n".encode()
    return [
        Kind(b""),
        Kind(head),
        Kind(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Trickle: ", trickles=True),
        Kind(head + b"Content-Length: 100\r\n\r\n{"),
        Kind(whole.format(large).encode() * times, reads=False),
        Kind(whole.format("/health").encode()),
    ]


class Crowd:
    """`count` connections to a port, of each kind by turns, for as long as the context lasts."""

    def __init__(self, port: int, count: int, kinds: list[Kind]) -> None:
        self.opened = 0
        self._port, self._count, self._kinds = port, count, kinds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._open: dict[int, tuple[socket.socket, Kind]] = {}
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
        while not self._over.wait(LOOK_SECONDS):
            most = OPENED_AT_ONCE if self.opened < self._count else OPENED_AGAIN
            for _ in range(min(most, self._count - len(self._open))):
                with suppress(OSError):
                    self._add(self._kinds[self.opened % len(self._kinds)])
            for descriptor, _ in self._poll.poll(0):
                self._read(descriptor)
            if time.monotonic() - trickled > TRICKLE_SECONDS:
                trickled = time.monotonic()
                self._trickle()

    def _add(self, kind: Kind) -> None:
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
        """Take what has come; a connection that the server has closed goes."""
        sock, kind = self._open[descriptor]
        try:
            gone = not kind.reads or not sock.recv(65536)
        except OSError:
            gone = True
        if gone:
            self._poll.unregister(descriptor)
            del self._open[descriptor]
            sock.close()

    def _trickle(self) -> None:
        for sock, kind in self._open.values():
            if kind.trickles:
                with suppress(OSError):
                    sock.send(b"x")
