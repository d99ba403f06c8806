"""A fake instance that sends exact bytes: each test has a script for its connections."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
BABYSITTER = b'{"service": "q", "babysitter": "running"}'


class ReceivedRequest:
    """One request as the instance received it."""

    def __init__(self, head: bytes, body: bytes) -> None:
        self.head = head
        self.body = body
        self.line, *lines = head.split(b"\r\n")
        self.headers = [tuple(line.split(b": ", 1)) for line in lines]

    def all(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.headers if key.lower() == name]

    def header(self, name: bytes) -> bytes | None:
        values = self.all(name)
        assert len(values) < 2, values
        return values[0] if values else None


class Peer:
    """The router's end of one connection, as the instance sees it."""

    def __init__(self, sock: socket.socket, reads_at_most: int | None = None) -> None:
        self.sock = sock
        self.rest = b""
        self._sending = threading.Lock()
        self._reads_at_most = reads_at_most

    def request(self) -> ReceivedRequest | None:
        """Return the next request, None at the end of the connection."""
        while b"\r\n\r\n" not in self.rest:
            if not self._more():
                return None
        head, _, self.rest = self.rest.partition(b"\r\n\r\n")
        received = ReceivedRequest(head, b"")
        length = int(received.header(b"content-length") or 0)
        assert not received.all(b"transfer-encoding")
        if self._reads_at_most is not None and length > self._reads_at_most:
            return None
        pieces, missing = [self.rest], length - len(self.rest)
        while missing > 0:
            piece = self._receive()
            if not piece:
                return None
            pieces.append(piece)  # joined once: a body of 20 MB arrives in hundreds of pieces
            missing -= len(piece)
        received = b"".join(pieces)
        self.rest = received[length:]
        return ReceivedRequest(head, received[:length])

    def send(self, data: bytes) -> None:
        """Send from the instance's own thread or from a test's: two must not write to one TLS connection at once."""
        with self._sending:
            self.sock.sendall(data)

    def _more(self) -> bool:
        data = self._receive()
        self.rest += data
        return bool(data)

    def _receive(self) -> bytes:
        with suppress(OSError):
            return self.sock.recv(65536)
        return b""


Script = Callable[[Peer, ReceivedRequest], object]


def ok(peer: Peer, received: ReceivedRequest) -> None:
    peer.send(OK)


class Instance:
    """Calls the script for each request of each connection; a script that returns False ends its connection.

    GET /health is answered apart: 200, 503 when `sick`, as a babysitter does when `babysitter`, else with `no_health`.
    """

    def __init__(self, port: int = 0, host: str = "127.0.0.1") -> None:
        self.script: Script = ok
        self.sick = False
        self.reads_at_most: int | None = None  # bytes of a body; it hangs up on a larger one
        self.babysitter = False
        self.no_health = False
        self.received: list[ReceivedRequest] = []
        self.peers: list[Peer] = []
        self.connections = 0
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, backlog=64)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def play(self, script: Script = ok) -> None:
        """Use another script, with new connections and no requests received."""
        self.script = script
        self.hang_up()
        self.received = []
        self.connections = 0

    def hang_up(self) -> None:
        for peer in self.peers:
            with suppress(OSError):
                peer.sock.shutdown(socket.SHUT_RDWR)
        self.peers = []

    def close(self) -> None:
        self.stop_listening()
        self.hang_up()

    def stop_listening(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                peer = Peer(sock, self.reads_at_most)
                self.peers.append(peer)
                threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: Peer) -> None:
        counted = False
        with suppress(OSError), peer.sock:
            while (received := peer.request()) is not None:
                if received.line.startswith(b"GET /health "):
                    peer.send(self._health())
                    continue
                self.connections += not counted
                counted = True
                self.received.append(received)
                if self.script(peer, received) is False:
                    return

    def _health(self) -> bytes:
        if self.no_health:
            return NOT_FOUND
        body = BABYSITTER if self.babysitter else b"ok"
        return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (503 if self.sick else 200, len(body), body)
