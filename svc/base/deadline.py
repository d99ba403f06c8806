"""A time limit for a whole request. A read timeout does not limit it, because each byte that arrives restarts it."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException


class Deadline:
    """Ends the connections of one request after a time, even during a read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._is_over = False

    @contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        """Run the block; if it takes longer than `seconds`, end its connections and raise TimeoutError."""
        timer = threading.Timer(seconds, self._end)
        timer.daemon = True
        timer.start()
        try:
            yield
        except (OSError, HTTPException):  # OSError includes the errors of the `requests` library
            if not self._is_over:
                raise
        finally:
            timer.cancel()
            with self._lock:
                for sock in self._sockets:
                    sock.close()
                self._sockets.clear()
        if self._is_over:
            raise TimeoutError(f"the answer does not end within {seconds:g} s")

    def watch(self, sock: socket.socket) -> socket.socket:
        """Have the limit end the connection of `sock`, too; return `sock`."""
        with self._lock:
            self._sockets.append(sock.dup())  # a copy, because TLS takes over the descriptor of `sock`
        if self._is_over:
            self._end()
        return sock

    def _end(self) -> None:
        with self._lock:
            self._is_over = True
            for sock in self._sockets:
                with suppress(OSError):  # the server has ended the connection
                    sock.shutdown(socket.SHUT_RDWR)
