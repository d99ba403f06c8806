"""Requests at random through a router whose processes are killed at random, and what the instances saw meanwhile."""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from tests.integration.router.routers import Router
from tests.integration.router.workers.processes import relaying_processes

RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BODY = b'{"model": "m"}'
REQUEST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
)
MAX_HOLD_SECONDS = 0.004  # for which an instance holds a request
RESPONSE_TIMEOUT_SECONDS = 60
# After a kill, the instance may read a new request before it notices the end of the killed process's connection.
SETTLE_SECONDS = 1.0


class CountingInstance:
    """An instance that counts the requests that it holds at a time, by the connections that are open."""

    def __init__(self, limit: int, killed_at: Callable[[], float], draw: random.Random) -> None:
        self.limit = limit
        self.served = self.in_flight = 0
        self.excesses: list[int] = []
        self._killed_at = killed_at
        self._draw = draw

    async def start(self) -> int:
        """Listen on a free port and return it."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(len(BODY))
                await self._hold(reader)
                writer.write(RESPONSE)
        writer.close()

    async def _hold(self, reader: asyncio.StreamReader) -> None:
        self.in_flight += 1
        if self.in_flight > self.limit and time.monotonic() - self._killed_at() > SETTLE_SECONDS:
            self.excesses.append(self.in_flight)
        try:  # a connection that ends meanwhile holds no request any more
            await asyncio.wait_for(reader.read(1), self._draw.random() * MAX_HOLD_SECONDS)
        except asyncio.TimeoutError:
            self.served += 1
        finally:
            self.in_flight -= 1


class RandomTraffic:
    """Clients that send `requests` requests in all, and a killer that kills `kills` processes meanwhile."""

    def __init__(self, requests: int, clients: int, kills: int, seed: int) -> None:
        self.outcomes: Counter[str] = Counter()
        self._draw = random.Random(seed)
        self._requests, self._clients, self._kills = requests, clients, kills
        self._killed_at = 0.0
        self.instances = [CountingInstance(limit, lambda: self._killed_at, self._draw) for limit in (1, 3, 6)]

    async def start(self) -> list[int]:
        """Start the instances; return their ports."""
        return [await instance.start() for instance in self.instances]

    async def run(self, own: Router) -> None:
        clients = [asyncio.create_task(self._client(own.port)) for _ in range(self._clients)]
        killer = asyncio.create_task(self._killer(own))
        await asyncio.gather(*clients)
        killer.cancel()

    async def _client(self, port: int) -> None:
        while self._requests > 0:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.01)
                continue
            for _ in range(self._draw.randrange(1, 200)):
                self._requests -= 1
                outcome = await self._request(reader, writer)
                self.outcomes[outcome] += 1
                if outcome == "lost" or self._requests <= 0:
                    break
            writer.close()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        """Send one request, and return the status of its response, or that it was lost or hangs."""
        try:
            writer.write(REQUEST)
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), RESPONSE_TIMEOUT_SECONDS)
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            await reader.readexactly(length)
        except asyncio.TimeoutError:
            return "hangs"
        except (asyncio.IncompleteReadError, ConnectionError):
            return "lost"
        return head.split()[1].decode()

    async def _killer(self, own: Router) -> None:
        total = self._requests
        for number in range(self._kills):
            while self._requests > total * (1 - (number + 1) / (self._kills + 1)):
                await asyncio.sleep(0.01)
            processes = relaying_processes(own)
            if processes:
                self._killed_at = time.monotonic()
                with suppress(ProcessLookupError):
                    os.kill(self._draw.choice(processes), signal.SIGKILL)
