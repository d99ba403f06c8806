"""Load: thousands of clients that vanish leave nothing behind, and 5,000 streams are open at once."""

import asyncio
import json
import random
import resource
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.integration.router.client import post
from tests.integration.router.routers import WORKERS, Router, router, service, static
from tests.waiting import wait_until

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b'1a\r\ndata: {"token": "hello"}\n\n\r\n'
END = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
TICK = 0.02  # seconds between two events of a stream without end
TIMEOUT_SECONDS = 60  # seconds until a client fails that waits
STREAMS = 5000
AT_ONCE = 200  # connections being opened, so that the backlog is not what is tested

ENDLESS = post({"model": "m", "endless": True, "stream": True})
SILENT = post({"model": "m", "endless": True, "silent": True, "stream": True})
HELD = post({"model": "m", "held": True, "stream": True})
SHORT = post({"model": "m"})


class Crowded:
    """An instance for many connections, in its own event loop. It counts the requests that it has not answered yet."""

    def __init__(self) -> None:
        self.open: set[asyncio.StreamWriter] = set()
        self.working: set[asyncio.StreamWriter] = set()
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._released = asyncio.Event()
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self._thread.start()
        assert started.wait(10)

    def release(self) -> None:
        """Let held streams continue to their end."""
        self._loop.call_soon_threadsafe(self._released.set)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=4096))
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.add(writer)
        with suppress(asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                told = json.loads(await reader.readexactly(int(length))) if length else {}
                self.working.add(writer)
                await self._answer(told, reader, writer)
                self.working.discard(writer)
        self.open.discard(writer)
        self.working.discard(writer)
        writer.close()

    async def _answer(self, told: dict, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if told.get("held"):
            writer.write(STREAM + EVENT)
            await self._released.wait()
            writer.write(EVENT + END)
        elif told.get("endless"):
            if not told.get("silent"):
                writer.write(STREAM)
            while not reader.at_eof():  # nothing but being cut ends it
                if not told.get("silent"):
                    writer.write(EVENT)
                await asyncio.sleep(TICK)
            raise ConnectionResetError
        else:
            writer.write(OK)
        await writer.drain()


@pytest.fixture
def crowded() -> Iterator[Crowded]:
    allow_files(2 * STREAMS + 1000)
    made = Crowded()
    yield made
    made.close()


@pytest.fixture
def own(crowded: Crowded, tmp_path: Path) -> Iterator[Router]:
    """A router as in production, with all its logs on."""
    path = static(tmp_path / "static.json", [service("m", crowded.port, "m")])
    with router("--static-services", path, "--access-log", tmp_path / "access.log") as running:
        yield running
        assert "Traceback" not in running.output()


def allow_files(count: int) -> None:
    """Allow so many open files, in this process and those that it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (count, max(hard, count)))
        except (ValueError, OSError):
            pytest.skip(f"this needs {count} open files and may have {hard}: raise the limit (ulimit -Hn)")


# Clients that vanish.


class Vanishing:
    """One client that leaves at a random time and in a random way, as `dice` choose."""

    def __init__(self, port: int, dice: random.Random) -> None:
        self.port = port
        self.dice = dice

    async def __call__(self) -> None:
        moments = (self.connecting, self.asking, self.waiting, self.reading, self.served)
        await self.dice.choice(moments)()

    async def connecting(self) -> None:
        with socket.socket() as sock:
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", self.port))
            if self.dice.random() < 0.5:
                await self.pause()

    async def asking(self) -> None:
        await self.leave(ENDLESS[: self.dice.randrange(len(ENDLESS))])

    async def waiting(self) -> None:
        await self.leave(SILENT)

    async def reading(self) -> None:
        await self.leave(ENDLESS, events=self.dice.randrange(1, 5))

    async def served(self) -> None:
        await self.leave(SHORT, marks=b"ok")

    async def leave(self, sent: bytes, events: int = 0, marks: bytes = b"") -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(sent)
        for mark in [marks] if marks else [b"hello"] * events:
            await asyncio.wait_for(reader.readuntil(mark), TIMEOUT_SECONDS)
        await self.pause()
        way = self.dice.choice(("close", "reset", "half-close"))
        if way == "reset":
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        elif way == "half-close":  # the router ends it then
            writer.write_eof()
            with suppress(ConnectionError):
                await asyncio.wait_for(reader.read(), TIMEOUT_SECONDS)
        writer.transport.abort()

    async def pause(self) -> None:
        await asyncio.sleep(self.dice.random() / 10)


async def vanish(port: int, count: int) -> None:
    """Run so many clients, a hundred at once; the seed makes a failure repeatable."""
    turn = asyncio.Semaphore(100)

    async def one(n: int) -> None:
        async with turn:
            await Vanishing(port, random.Random(n))()

    await asyncio.gather(*(one(n) for n in range(count)))


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.long)])
def test_clients_that_vanish_leave_nothing_but_idle_connections(own: Router, crowded: Crowded, count: int):
    asyncio.run(vanish(own.port, count))
    wait_until(lambda: own.in_flight() == 0, description="the counts to be released")
    wait_until(lambda: not crowded.working, description="every request upstream to be cut")
    wait_until(lambda: connections(own, crowded.port) == len(crowded.open), description="the instance to see the ends")
    wait_until(lambda: connections(own, own.port) <= 1, description="the clients' connections to be closed")
    idle = len(crowded.open)
    assert idle <= 100
    asyncio.run(ask_at_once(own.port, idle))
    if WORKERS == 1:  # several processes have idle connections of their own
        assert len(crowded.open) <= idle + 2  # a check of the instance's health may have one of its own
    assert own.service("m")["error_count"] == 0


async def ask_at_once(port: int, count: int) -> None:
    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(SHORT)
        await asyncio.wait_for(reader.readuntil(b"ok"), TIMEOUT_SECONDS)
        writer.close()

    await asyncio.gather(*(one() for _ in range(count)))


def connections(own: Router, port: int) -> int:
    """Return how many connections of the router's processes have `port` at one end, from /proc."""
    inodes = set()
    for pid in own.processes():
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                inodes.add(entry.readlink().name)
    end = f":{port:04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(
        f"socket:[{words[9]}]" in inodes and (words[1].endswith(end) or words[2].endswith(end)) and words[3] != "0A"
        for words in lines
    )


# Streams.


def memory(own: Router) -> int:
    """Return the kilobytes of all its processes, with shared memory counted once (PSS)."""
    pids = [own.process.pid, *own.processes()]
    rollups = [Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines() for pid in pids]
    return sum(int(line.split()[1]) for lines in rollups for line in lines if line.startswith("Pss:"))


async def stream_at_once(own: Router, crowded: Crowded, count: int) -> int:
    """Open so many streams, read each to its end once all are open, and return the router's memory at that time."""
    turn = asyncio.Semaphore(AT_ONCE)

    async def begin() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with turn:
            reader, writer = await asyncio.open_connection("127.0.0.1", own.port)
            writer.write(HELD)
            await asyncio.wait_for(reader.readuntil(b"\n\n\r\n"), TIMEOUT_SECONDS)
        return reader, writer

    async def end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        rest = await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), TIMEOUT_SECONDS)
        assert rest.count(b"hello") == 1
        assert rest.count(b"data: [DONE]") == 1
        writer.close()

    streams = await asyncio.gather(*(begin() for _ in range(count)))
    assert len(crowded.working) == count
    used = memory(own)
    crowded.release()
    await asyncio.gather(*(end(*stream) for stream in streams))
    return used


@pytest.mark.parametrize("count", [200, pytest.param(STREAMS, marks=pytest.mark.long)])
def test_concurrent_streams_all_complete_in_little_memory(own: Router, crowded: Crowded, count: int, record_property):
    idle = memory(own)
    used = asyncio.run(stream_at_once(own, crowded, count))
    each = (used - idle) / count
    record_property("idle_kb", idle)
    record_property("kb_a_stream", round(each, 1))
    print(f"idle {idle / 1024:.1f} MB, {each:.1f} KB for each of {count} open streams")
    # Several processes: a control process, and in each that relays what it needs for its first streams.
    assert each < (32 if WORKERS == 1 else 64)
    assert idle < (50 if WORKERS == 1 else 50 + 25 * WORKERS) * 1024
    wait_until(lambda: own.in_flight() == 0, description="the counts to be released")
    assert own.service("m")["error_count"] == 0
