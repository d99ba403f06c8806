"""A client that sends exact bytes, and reads responses strictly."""

import json
import socket
from typing import Any, NamedTuple

TIMEOUT_SECONDS = 10  # seconds until a test fails that waits for bytes


class Answer(NamedTuple):
    status: int
    reason: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def header(self, name: bytes) -> bytes | None:
        values = [value for key, value in self.headers if key.lower() == name]
        assert len(values) < 2, values
        return values[0] if values else None

    def error(self) -> dict[str, Any]:
        assert self.header(b"content-type") == b"application/json"
        return json.loads(self.body)["error"]


class Client:
    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest = b""

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> "Client":
        self.sock.sendall(data)
        return self

    def answer(self, head_only: bool = False) -> Answer:
        """Return the next whole response, its chunks put together."""
        status, reason, headers = self.head()
        answer = Answer(status, reason, headers, b"")
        if head_only or status in (204, 304) or status < 200:
            return answer
        length, coding = answer.header(b"content-length"), answer.header(b"transfer-encoding")
        assert length is None or coding is None
        if length is not None:
            body = self.take(int(length))
        elif coding is not None:
            assert coding == b"chunked"
            body = b"".join(iter(self.chunk, b""))
        else:
            assert answer.header(b"connection") == b"close"
            body = self.all()
        return answer._replace(body=body)

    def head(self) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
        line, *lines = self.until(b"\r\n\r\n")[:-4].split(b"\r\n")
        version, status, reason = line.split(b" ", 2)
        assert version == b"HTTP/1.1"
        return int(status), reason, [tuple(line.split(b": ", 1)) for line in lines]  # type: ignore[misc]

    def chunk(self) -> bytes:
        """Return the next chunk, empty after the last one."""
        size = int(self.until(b"\r\n"), 16)
        data = self.take(size)
        assert self.take(2) == b"\r\n"
        return data

    def until(self, mark: bytes) -> bytes:
        while mark not in self.rest:
            self._more()
        at = self.rest.index(mark) + len(mark)
        return self._cut(at)

    def take(self, size: int) -> bytes:
        parts = [self._cut(size)]
        missing = size - len(parts[0])
        while missing:
            data = self.sock.recv(min(missing, 1 << 20))
            assert data, f"the connection ended {missing} bytes early"
            parts.append(data)
            missing -= len(data)
        return b"".join(parts)

    def all(self) -> bytes:
        """Return everything until the end of the connection."""
        while data := self.sock.recv(65536):
            self.rest += data
        return self._cut(len(self.rest))

    def ended(self) -> bool:
        """Return whether the router closed the connection in order, without sending more."""
        return not self.rest and self.sock.recv(1) == b""

    def _more(self) -> None:
        data = self.sock.recv(65536)
        assert data, f"the connection ended after {self.rest!r}"
        self.rest += data

    def _cut(self, at: int) -> bytes:
        data, self.rest = self.rest[:at], self.rest[at:]
        return data


def post(body: bytes | dict[str, Any], *headers: bytes, path: bytes = b"/v1/chat/completions") -> bytes:
    """Return a whole POST request."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = b"".join(h + b"\r\n" for h in (b"Host: router", b"Content-Length: %d" % len(body), *headers))
    return b"POST %b HTTP/1.1\r\n%b\r\n%b" % (path, lines, body)


def get(path: bytes, *headers: bytes) -> bytes:
    return b"GET %b HTTP/1.1\r\n%b\r\n" % (path, b"".join(h + b"\r\n" for h in (b"Host: router", *headers)))
