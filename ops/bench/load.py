"""A closed loop of clients on one address: each asks, reads the whole answer, and asks again."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httptools
from scenarios import Scenario

GRACE = 60.0  # seconds that begun answers have after the end
AT_ONCE = 100  # connections that are opened at a time: listening queues are finite
PAUSE = 0.05  # seconds after a failure, so that a broken router is not beaten


@dataclass(slots=True)
class Tally:
    """What the clients saw."""

    seconds: float = 0.0
    took: list[float] = field(default_factory=list)  # seconds of each whole answer
    first: list[float] = field(default_factory=list)  # seconds until the first byte of each body
    events: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    open: int = 0  # answers that have begun and not ended
    most_open: int = 0


class Client(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._parser = httptools.HttpResponseParser(self)
        self._done: asyncio.Future[None] | None = None
        self.usable = True

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    async def ask(self, request: bytes) -> None:
        """Raises ConnectionError when the answer does not come whole."""
        self.bytes = self.lines = 0
        self.first = 0.0
        self._done = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            await self._done
        finally:
            self._tally.open -= bool(self.first)

    def close(self) -> None:
        self._transport.close()

    @property
    def status(self) -> int:
        return self._parser.get_status_code()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._end(ConnectionError(f"not HTTP: {error}"))

    def on_body(self, body: bytes) -> None:
        if not self.first:
            self.first = time.perf_counter()
            self._tally.open += 1
            self._tally.most_open = max(self._tally.most_open, self._tally.open)
        self.bytes += len(body)
        self.lines += body.count(b"\n")

    def on_message_complete(self) -> None:
        self.usable = self._parser.should_keep_alive()
        self._end(None)

    def connection_lost(self, error: Exception | None) -> None:
        self.usable = False
        self._end(ConnectionError(f"the connection ended: {error or 'closed'}"))

    def _end(self, error: Exception | None) -> None:
        if self._done and not self._done.done():
            if error:
                self._done.set_exception(error)
            else:
                self._done.set_result(None)


async def load(port: int, scenario: Scenario, seconds: float | None = None) -> Tally:
    tally, start = Tally(), time.perf_counter()
    end = start + (scenario.seconds if seconds is None else seconds)
    gate = asyncio.Semaphore(AT_ONCE)
    clients = [asyncio.create_task(_client(port, scenario, tally, gate, end)) for _ in range(scenario.connections)]
    _, stuck = await asyncio.wait(clients, timeout=end - start + GRACE + scenario.events * scenario.gap / 1000)
    for client in stuck:
        client.cancel()
    tally.failures.update(["no answer"] * len(stuck))
    await asyncio.gather(*clients, return_exceptions=True)
    tally.seconds = time.perf_counter() - start
    return tally


async def _client(port: int, scenario: Scenario, tally: Tally, gate: asyncio.Semaphore, end: float) -> None:
    loop = asyncio.get_running_loop()
    request = scenario.request(f"127.0.0.1:{port}")
    client: Client | None = None
    try:
        while True:
            try:
                if client is None or not client.usable:
                    async with gate:
                        _, client = await loop.create_connection(lambda: Client(tally), "127.0.0.1", port)
                asked = time.perf_counter()
                await client.ask(request)
                _count(tally, client, scenario, asked, time.perf_counter())
            except OSError as error:
                tally.failures[str(error)] += 1
                client = None
                await asyncio.sleep(PAUSE)
            if scenario.once or time.perf_counter() >= end:
                return
    finally:
        if client:
            client.close()


def _count(tally: Tally, client: Client, scenario: Scenario, asked: float, now: float) -> None:
    """A stream is whole when it has every event and [DONE]; an event is a line and an empty one."""
    events = client.lines // 2
    if client.status != 200:
        tally.failures[f"status {client.status}"] += 1
    elif scenario.events and events != scenario.events + 1:
        tally.failures[f"{events} events"] += 1
    elif not client.bytes:
        tally.failures["an empty answer"] += 1
    else:
        tally.took.append(now - asked)
        tally.first.append(client.first - asked)
        tally.events += events if scenario.events else 0
