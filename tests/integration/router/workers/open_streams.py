"""Many event streams that are open at the same time: a program that is an instance, and the clients of a router.

The test runs several of them, because one process may not have descriptors for all streams. Each prints its port, reads
the router's port, opens its streams, prints `open`, reads `end`, ends the streams of its instance, and prints how many
of its clients' streams are complete.
"""

import asyncio
import sys

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b'10\r\ndata: {"a": 1}\n\n\r\n'
END = b"0\r\n\r\n"
BODY = b'{"model": "m", "stream": true}'
REQUEST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
)
OPENED_AT_ONCE = 200  # fewer than the router's backlog has room for
TIMEOUT_SECONDS = 300


class Connection(asyncio.Protocol):
    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport


class StreamingInstance(Connection):
    """Begins a stream for each request, which ends with the others."""

    streams: set["StreamingInstance"] = set()

    def data_received(self, data: bytes) -> None:
        if data.endswith(BODY):
            self.streams.add(self)
            self.transport.write(HEAD + EVENT)

    def connection_lost(self, error: Exception | None) -> None:
        self.streams.discard(self)


class StreamClient(Connection):
    """Sends one request; `begun` is set by its first event, `ended` by the end of the stream or of the connection."""

    def __init__(self) -> None:
        self.begun, self.ended = asyncio.Event(), asyncio.Event()
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.write(REQUEST)

    def data_received(self, data: bytes) -> None:
        self.received += data
        if EVENT in self.received:
            self.begun.set()
        if self.received.endswith(END):
            self.ended.set()

    def connection_lost(self, error: Exception | None) -> None:
        self.begun.set()
        self.ended.set()

    @property
    def complete(self) -> bool:
        return self.received.count(EVENT) == 2 and self.received.endswith(END)


async def run(count: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(StreamingInstance, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    port = int(await asyncio.to_thread(sys.stdin.readline))
    clients: list[StreamClient] = []
    while len(clients) < count:
        size = min(OPENED_AT_ONCE, count - len(clients))
        opened = [(await loop.create_connection(StreamClient, "127.0.0.1", port))[1] for _ in range(size)]
        await asyncio.wait_for(asyncio.gather(*(client.begun.wait() for client in opened)), TIMEOUT_SECONDS)
        clients += opened
    print("open", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    for stream in list(StreamingInstance.streams):
        stream.transport.write(EVENT + END)
    await asyncio.wait_for(asyncio.gather(*(client.ended.wait() for client in clients)), TIMEOUT_SECONDS)
    print(sum(client.complete for client in clients), flush=True)


if __name__ == "__main__":
    asyncio.run(run(int(sys.argv[1])))
