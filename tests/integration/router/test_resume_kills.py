"""Instances killed with SIGKILL under open streams: every answer is what it would have been."""

import asyncio
import itertools
import json
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.integration.router.client import post
from tests.integration.router.mock_nursery import MODEL, NAME, Nursery, nursery
from tests.integration.router.resumable import view
from tests.integration.router.routers import Router, router, service, static
from tests.waiting import wait_until

WORDS = " ".join(f"word{n}" for n in range(30))
TOKEN_DELAY_SECONDS = 0.03
DEAD_SECONDS = 0.2  # between the death of an instance and its restart
ELIGIBLE_SHARE = 0.995


class Stream(NamedTuple):
    """One stream as its client saw it. `pause`: the longest time in seconds between two parts of it."""

    identity: str
    whole: bool
    error: str
    pause: float


class Load:
    """Clients that ask for one stream after the other, each with its own prompt."""

    def __init__(self, port: int, clients: int) -> None:
        self.streams: list[Stream] = []
        self.open = 0
        self.stopped = threading.Event()
        self._port = port
        self._clients = clients
        self._numbers = itertools.count()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Let the last streams end."""
        self.stopped.set()
        self._thread.join(60)
        assert not self._thread.is_alive()

    async def _run(self) -> None:
        await asyncio.gather(*(self._client() for _ in range(self._clients)))

    async def _client(self) -> None:
        while not self.stopped.is_set():
            self.streams.append(await self._stream(next(self._numbers)))

    async def _stream(self, number: int) -> Stream:
        prompt, identity = f"stream {number}: {WORDS}", f"stream-{number}"
        body: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": prompt}], "stream": True}
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        headers = (b"Connection: close", b"X-Request-Id: " + identity.encode())
        writer.write(post(body, *headers).replace(b" HTTP/1.1", b" HTTP/1.0"))
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head:
            return Stream(identity, False, head.decode(), 0)
        self.open += 1
        data, pause, before = b"", 0.0, time.monotonic()
        while part := await reader.read(65536):
            now = time.monotonic()
            data, pause, before = data + part, max(pause, now - before), now
        self.open -= 1
        writer.close()
        seen = view(data)
        whole = (seen.text, seen.roles, len(seen.identities)) == (f"{NAME} heard: {prompt}", 1, 1)
        whole = whole and (seen.finish_reasons, seen.errors, seen.done) == (["stop"], [], 1)
        error = seen.errors[0]["code"] + ": " + seen.errors[0]["message"] if seen.errors else "" if whole else str(seen)
        return Stream(identity, whole, error, pause)


def kill_one_after_the_other(own: Router, mocks: Nursery, load: Load, kills: int, interval: float) -> None:
    """Kill an instance every `interval` seconds, while the load has open streams."""
    pause = threading.Event()
    for number in range(kills):
        wait_until(lambda: load.open, timeout=60, description="open streams")
        pause.wait(interval)
        mocks.kill(number % len(mocks.ports))
        pause.wait(DEAD_SECONDS)
        mocks.restart(number % len(mocks.ports))


def proven(mocks: Nursery, folder: Path) -> Path:
    """Return a file of static services that continue answers."""
    metadata = {"models": [MODEL], "continues": True}
    services = [service(f"i{n}", port, MODEL, metadata=metadata) for n, port in enumerate(mocks.ports)]
    return static(folder / "static.json", services)


def run(folder: Path, instances: int, clients: int, kills: int, interval: float, workers: int) -> None:
    """Run the load while instances are killed; check the streams, and print what came of them."""
    log = folder / "access.log"
    with nursery(instances, TOKEN_DELAY_SECONDS) as mocks:
        flags = ("--max-errors", 1000, "--workers", workers, "--access-log", log, "--queue-timeout", 20)
        with router("--static-services", proven(mocks, folder), *flags) as own:
            load = Load(own.port, clients)
            load.start()
            kill_one_after_the_other(own, mocks, load, kills, interval)
            load.stop()
            counts = own.get("/stats").json()["resumptions"]
            own.assert_no_exception()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    resumed = {line["id"] for line in lines if line.get("resumed")}
    # A stream that was in flight at two instances that died is not continued again.
    killed_twice = {line["id"] for line in lines if line["end"] != "done" and line.get("resumed")}
    eligible = [stream for stream in load.streams if stream.identity not in killed_twice]
    broken = [stream.error for stream in eligible if not stream.whole]
    pauses = sorted(stream.pause for stream in load.streams if stream.identity in resumed)
    print(f"{kills} kills, {len(load.streams)} streams, {len(resumed)} resumed, ", end="")
    print(f"{len(killed_twice)} killed twice, {len(broken)} others broken: {counts}")
    print(f"longest pause of a resumed stream: p50 {pauses[len(pauses) // 2]:.3f} s, ", end="")
    print(f"p99 {pauses[len(pauses) * 99 // 100]:.3f} s, maximum {pauses[-1]:.3f} s")
    assert resumed
    assert 1 - len(broken) / len(eligible) >= ELIGIBLE_SHARE, broken[:5]


def test_streams_survive_the_deaths_of_their_instances(tmp_path: Path):
    run(tmp_path, instances=3, clients=12, kills=2, interval=0.6, workers=1)


@pytest.mark.long
@pytest.mark.parametrize("workers", [1, 3])
def test_streams_survive_with_one_process_and_with_three(tmp_path: Path, workers: int):
    run(tmp_path, instances=4, clients=40, kills=20, interval=1, workers=workers)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_200_streams_survive_1000_deaths(tmp_path: Path):
    run(tmp_path, instances=4, clients=200, kills=1000, interval=0.8, workers=1)


class Requests:
    """Clients that send one request after the other, none of them for a stream."""

    def __init__(self, own: Router, clients: int) -> None:
        self.statuses: list[int] = []
        self._own = own
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(client,)) for client in range(clients)]
        for thread in self._threads:
            thread.start()

    def wait_for_more(self, count: int) -> None:
        """Wait for so many more answers."""
        wanted = len(self.statuses) + count
        wait_until(lambda: len(self.statuses) >= wanted, timeout=30, description=f"{count} more answers")

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(20)

    def _ask(self, client: int) -> None:
        with self._own.client() as connection:
            for number in itertools.count():
                if self._stopped.is_set():
                    return
                message = {"role": "user", "content": f"{client} {number}"}
                body = {"model": MODEL, "messages": [message], "max_tokens": 4}
                self.statuses.append(connection.send(post(body)).answer().status)


def test_no_request_fails_that_is_no_stream(tmp_path: Path):
    """Two instances, of which one is killed under steady traffic."""
    flags = ("--max-errors", 1000, "--queue-timeout", 20)
    with nursery(2, 0.005) as mocks, router("--static-services", proven(mocks, tmp_path), *flags) as own:
        requests = Requests(own, 8)
        for number in range(3):
            requests.wait_for_more(20)
            mocks.kill(number % 2)
            requests.wait_for_more(20)
            mocks.restart(number % 2)
        requests.stop()
        assert set(requests.statuses) == {200}
