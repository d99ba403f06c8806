"""Event streams of fake instances, in chunks, and the error event that ends one."""

import json
import threading
from collections.abc import Callable

from tests.integration.router.instance import Peer, ReceivedRequest

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"

CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def one_by_one(arrived: threading.Event, count: int, patience: float) -> Callable[[Peer, ReceivedRequest], None]:
    """Sends each event when the one before it has `arrived`, within `patience` seconds."""

    def script(peer: Peer, received: ReceivedRequest) -> None:
        peer.send(CHUNKED)
        for n in range(count):
            peer.send(chunk(b"data: %d\n\n" % n))
            assert arrived.wait(patience)
            arrived.clear()
        peer.send(b"0\r\n\r\n")

    return script


def last_error(body: bytes) -> dict[str, str]:
    """The error event with which a stream ends."""
    *_, told, done, rest = body.split(b"\n\n")
    assert done == b"data: [DONE]"
    assert rest == b""
    assert told.startswith(b"data: ")
    return json.loads(told[6:])["error"]
