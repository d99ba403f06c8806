"""An HTTP server that sends a part of its answer byte by byte, for the tests of clients."""

import socket
from contextlib import suppress
from threading import Event, Thread

from tests.integration.router.certificates import Certificate

BYTE_INTERVAL_SECONDS = 0.05


class SlowServer:
    """Sends one answer: quickly, or its `slow_part` (head or body) byte by byte, until the client ends it."""

    def __init__(self, body: str, slow_part: str, certificate: Certificate | None = None) -> None:
        self.connection_ended = Event()
        self.sent_bytes = 0  # of the slow part
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nX-Padding: {'x' * 100}\r\n\r\n"
        quick, slow = {"head": ("", head), "body": (head, body)}.get(slow_part, (head + body, ""))
        self.total_bytes = len(slow)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._context = certificate.server() if certificate else None
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self._listener.getsockname()[1]}"
        Thread(target=self._serve, args=(quick.encode(), slow.encode()), daemon=True).start()

    def _serve(self, quick: bytes, slow: bytes) -> None:
        with suppress(OSError):
            sock, _ = self._listener.accept()
            if self._context:
                sock = self._context.wrap_socket(sock, server_side=True)
            with sock:
                sock.recv(4096)
                sock.sendall(quick)
                sock.settimeout(BYTE_INTERVAL_SECONDS)
                while self.sent_bytes < len(slow) and not _has_ended(sock):
                    sock.sendall(slow[self.sent_bytes : self.sent_bytes + 1])
                    self.sent_bytes += 1
        self.connection_ended.set()

    def close(self) -> None:
        self._listener.close()


def _has_ended(sock: socket.socket) -> bool:
    """Return whether the client ends the connection; this takes the time between two bytes."""
    try:
        return not sock.recv(1)
    except TimeoutError:
        return False
