"""A gevent server that answers each heartbeat with fixed bytes, and does nothing else: what its cost is compared with.

python -m tests.integration.registry.plain_server PORT
"""

import sys
from typing import Any

from gevent.server import StreamServer

ANSWER = b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n{}"


def handle(client: Any, address: tuple[str, int]) -> None:
    data = b""
    while more := client.recv(8192):
        data += more
        if data.endswith(b"}"):
            client.sendall(ANSWER)


if __name__ == "__main__":
    StreamServer(("127.0.0.1", int(sys.argv[1])), handle).serve_forever()
