"""Clients on one address: in a closed loop, each sends its next request after each answer; in bursts, all at once."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httptools
from scenarios import Scenario

ANSWER_TIMEOUT_SECONDS = 60.0  # for answers that are incomplete at the end of the load
RUNNING_START_SECONDS = 1.0  # after which the running streams are spread evenly
MAX_CONNECTING = 100  # connections that are opened at a time: listening queues are finite
FAILURE_PAUSE_SECONDS = 0.05  # so that a broken router is not flooded


@dataclass(slots=True)
class ClientStatistics:
    """What the clients measured."""

    seconds: float = 0.0
    took: list[float] = field(default_factory=list)  # seconds of each whole answer
    first: list[float] = field(default_factory=list)  # seconds until the first byte of each body
    events: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    open: int = 0  # answers that have begun and not ended
    most_open: int = 0


class Client(asyncio.Protocol):
    """One connection, which carries one request at a time."""

    def __init__(self, statistics: ClientStatistics) -> None:
        self._statistics = statistics
        self._parser = httptools.HttpResponseParser(self)
        self._done: asyncio.Future[None] | None = None
        self.usable = True

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    async def send(self, request: bytes) -> None:
        """Send a request and read its answer; raise ConnectionError when the answer is incomplete."""
        self.bytes = self.lines = 0
        self.first = 0.0
        self._done = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            await self._done
        finally:
            self._statistics.open -= bool(self.first)

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
            self._statistics.open += 1
            self._statistics.most_open = max(self._statistics.most_open, self._statistics.open)
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


async def load(port: int, scenario: Scenario, seconds: float | None = None) -> ClientStatistics:
    seconds = scenario.seconds if seconds is None else seconds
    if scenario.burst:
        async with _running(port, scenario) as running:
            statistics = await bursts(port, scenario, seconds)
            statistics.events += running.events
            statistics.most_open += running.most_open
            return statistics
    statistics, start = ClientStatistics(), time.perf_counter()
    clients = _start(port, scenario, statistics, start + seconds)
    _, stuck = await asyncio.wait(
        clients, timeout=seconds + ANSWER_TIMEOUT_SECONDS + scenario.events * scenario.gap / 1000
    )
    for client in stuck:
        client.cancel()
    statistics.failures.update(["no answer"] * len(stuck))
    await asyncio.gather(*clients, return_exceptions=True)
    statistics.seconds = time.perf_counter() - start
    return statistics


def _start(port: int, scenario: Scenario, statistics: ClientStatistics, end: float) -> list[asyncio.Task[None]]:
    gate = asyncio.Semaphore(MAX_CONNECTING)
    return [asyncio.create_task(_client(port, scenario, statistics, gate, end)) for _ in range(scenario.connections)]


@asynccontextmanager
async def _running(port: int, scenario: Scenario) -> AsyncIterator[ClientStatistics]:
    """Run the streams that go on during the bursts of a scenario, and yield their statistics."""
    background = Scenario("running", "streams that go on", scenario.running, events=25, gap=20)
    statistics = ClientStatistics()
    clients = _start(port, background, statistics, math.inf) if scenario.running else []
    if clients:
        await asyncio.sleep(RUNNING_START_SECONDS)
    try:
        yield statistics
    finally:
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)


async def bursts(port: int, scenario: Scenario, seconds: float) -> ClientStatistics:
    """Send bursts for some time, two at least. The first one is not measured: it opens the connections.

    The time until the first byte includes the time to connect, if the connections are new.
    """
    statistics, start = ClientStatistics(), time.perf_counter()
    clients = await _burst(port, scenario, statistics, [None] * scenario.connections)
    statistics.took.clear()
    statistics.first.clear()
    while True:
        if scenario.burst == "cold":
            _close(clients)
            clients = [None] * scenario.connections
        clients = await _burst(port, scenario, statistics, clients)
        if time.perf_counter() - start >= seconds:
            break
    _close(clients)
    statistics.seconds = time.perf_counter() - start
    return statistics


async def _burst(
    port: int, scenario: Scenario, statistics: ClientStatistics, clients: Sequence["Client | None"]
) -> list["Client | None"]:
    """Send one request with each client, None to connect first; return the clients, None for those that failed."""
    loop = asyncio.get_running_loop()
    request = scenario.request(f"127.0.0.1:{port}")
    timeout = ANSWER_TIMEOUT_SECONDS + scenario.events * scenario.gap / 1000

    async def send(client: Client | None, began: float) -> Client | None:
        try:
            async with asyncio.timeout(timeout):
                if client is None or not client.usable:
                    _, client = await loop.create_connection(lambda: Client(statistics), "127.0.0.1", port)
                await client.send(request)
        except OSError as error:  # a TimeoutError too
            statistics.failures[str(error) or "no answer"] += 1
            return None
        _count(statistics, client, scenario, began, time.perf_counter())
        return client

    began = time.perf_counter()
    return await asyncio.gather(*(send(client, began) for client in clients))


def _close(clients: Sequence["Client | None"]) -> None:
    for client in clients:
        if client:
            client.close()


async def _client(
    port: int, scenario: Scenario, statistics: ClientStatistics, gate: asyncio.Semaphore, end: float
) -> None:
    loop = asyncio.get_running_loop()
    request = scenario.request(f"127.0.0.1:{port}")
    client: Client | None = None
    try:
        while True:
            try:
                if client is None or not client.usable:
                    async with gate:
                        _, client = await loop.create_connection(lambda: Client(statistics), "127.0.0.1", port)
                sent = time.perf_counter()
                await client.send(request)
                _count(statistics, client, scenario, sent, time.perf_counter())
            except OSError as error:
                statistics.failures[str(error)] += 1
                client = None
                await asyncio.sleep(FAILURE_PAUSE_SECONDS)
            if scenario.once or time.perf_counter() >= end:
                return
    finally:
        if client:
            client.close()


def _count(statistics: ClientStatistics, client: Client, scenario: Scenario, sent: float, now: float) -> None:
    """Count an answer. A stream is complete when it has every event and [DONE]; an event is a line and an empty one."""
    events = client.lines // 2
    if client.status != 200:
        statistics.failures[f"status {client.status}"] += 1
    elif scenario.events and events != scenario.events + 1:
        statistics.failures[f"{events} events"] += 1
    elif not client.bytes:
        statistics.failures["an empty answer"] += 1
    else:
        statistics.took.append(now - sent)
        statistics.first.append(client.first - sent)
        statistics.events += events if scenario.events else 0
