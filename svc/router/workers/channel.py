"""Messages between the processes of a router, over sockets that only these have (see `channel_listener.py`)."""

import socket
import struct
import threading
from contextlib import suppress
from typing import Any

from svc.router.workers.messages import decode, encode

LENGTH = struct.Struct("!I")
MAX_MESSAGE_BYTES = 256 << 20
RECEIVE_BYTES = 256 << 10
SEND_TIMEOUT_SECONDS = 10.0


class ChannelClosed(Exception):
    """The other process has ended, or has closed the channel."""


class Channel:
    """One end of a channel. `send` may be called by several greenlets, `receive` by one."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._sender = sock.dup()  # a copy, so that sending and receiving have time limits of their own
        self._sender.settimeout(SEND_TIMEOUT_SECONDS)
        self._sending = threading.Lock()
        self._received = bytearray()

    def send(self, message: Any) -> None:
        """Send a message. Raise ChannelClosed, also if the other process reads nothing for SEND_TIMEOUT_SECONDS."""
        self.send_encoded(encode(message))

    def send_encoded(self, data: bytes) -> None:
        """Send a message that is encoded already; raise ChannelClosed."""
        with self._sending:
            try:
                self._sender.sendall(LENGTH.pack(len(data)) + data)
            except OSError:
                self.close()  # a part of the message may have been sent
                raise ChannelClosed from None

    def receive(self, kind: Any, timeout: float | None = None) -> Any:
        """Return the next message; raise ChannelClosed, or TimeoutError if nothing arrives for `timeout` seconds.

        After a TimeoutError the message can still be received.
        """
        received = self._received
        self._fill(LENGTH.size, timeout)
        end = LENGTH.size + LENGTH.unpack_from(received)[0]
        if end > MAX_MESSAGE_BYTES:
            raise ChannelClosed
        self._fill(end, timeout)
        data = bytes(received[LENGTH.size : end])
        del received[:end]
        return decode(data, kind)

    def _fill(self, size: int, timeout: float | None) -> None:
        """Receive until this many bytes of the next message are there."""
        while len(self._received) < size:
            try:
                self._sock.settimeout(timeout)
                data = self._sock.recv(RECEIVE_BYTES)
            except TimeoutError:
                raise
            except OSError:  # raised also if this process has closed the channel
                raise ChannelClosed from None
            if not data:
                raise ChannelClosed
            self._received += data

    def close(self) -> None:
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)  # wakes a greenlet that waits in `receive` or `send`
        self._sock.close()
        self._sender.close()
