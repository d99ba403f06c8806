"""The fleet that registry.py measures with: instances, their babysitters and watchers, in one process and thread.

It is told on its command line, and tells in JSON lines on its standard output what happens: `ready`, `begin`, `end`
and the figures.
"""

import asyncio
import json
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

import uvloop

REGISTERING = 50  # requests at a time
AFTER = 5.0  # seconds that watchers have for the last change
PATIENCE = 30.0  # seconds until a request has failed
PAUSE = 0.02  # seconds between two lists of a watcher, as of routers
OLD = 10.0  # seconds between two lists of a registry that cannot be watched: the router's fallback
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n" + b'{"status":"healthy"}'


@dataclass(frozen=True, slots=True)
class Fleet:
    port: int  # the registry's
    instances: int
    watchers: int
    interval: float  # seconds between two heartbeats of a name
    changes: float  # seconds between two changes
    seconds: float
    settle: float  # seconds between the last registration and what is measured
    keep: bool  # connections are kept for the next heartbeat


@dataclass(slots=True)
class Tally:
    beats: int = 0
    took: list[float] = field(default_factory=list)  # seconds of each heartbeat
    seen: list[float] = field(default_factory=list)  # seconds until each watcher had each change
    changes: int = 0
    checks: int = 0  # that the registry made
    list_bytes: int = 0
    watched: bool = True
    failures: Counter = field(default_factory=Counter)


@dataclass(slots=True)
class Change:
    name: bytes
    status: bytes
    at: float  # when it was sent

    def shows(self, body: bytes) -> bool:
        """In a list, without reading all of it: that would take longer than what is measured."""
        start = body.find(b'"name":"%b"' % self.name)
        if start < 0:
            start = body.find(b'"name": "%b"' % self.name)
        entry = body[start : start + 500].replace(b'": "', b'":"')
        return start >= 0 and b'"status":"%b"' % self.status in entry


class Connection:
    """One connection to the registry, opened again when it is not kept or was lost."""

    def __init__(self, port: int, keep: bool = True) -> None:
        self.port = port
        self.keep = keep
        self.writer: asyncio.StreamWriter | None = None

    async def ask(self, method: str, path: str, body: bytes = b"", headers: str = "") -> tuple[int, int, bytes]:
        """Status, X-Registry-Index (-1: none) and body; what goes wrong raises OSError."""
        if self.writer is None or self.reader.at_eof():
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 22)
        head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(body)}\r\n{headers}"
        head += "Content-Type: application/json\r\n" + ("" if self.keep else "Connection: close\r\n")
        self.writer.write(head.encode() + b"\r\n" + body)
        try:
            answer = await self.reader.readuntil(b"\r\n\r\n")
            fields = dict(line.lower().split(b": ", 1) for line in answer.split(b"\r\n")[1:-2])
            told = await self.reader.readexactly(int(fields[b"content-length"]))
        except (asyncio.IncompleteReadError, KeyError, ValueError) as error:
            self.close()
            raise ConnectionError(f"no whole answer: {type(error).__name__}") from None
        if not self.keep or fields.get(b"connection") == b"close":
            self.close()
        return int(answer[9:12]), int(fields.get(b"x-registry-index", -1)), told

    def close(self) -> None:
        if self.writer:
            self.writer.close()
            self.writer = None


class Run:
    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.tally = Tally()
        self.names = [name for n in range(fleet.instances) for name in (f"i{n:04}", f"i{n:04}-server")]
        self.states = dict.fromkeys(self.names, "running")
        self.spare = [Connection(fleet.port, fleet.keep)]
        self.waiting: list[list[Change]] = [[] for _ in range(fleet.watchers)]
        self.tasks: set[asyncio.Task] = set()
        self.measuring = False

    async def all(self) -> None:
        health = await asyncio.start_server(self._healthy, "127.0.0.1", 0, backlog=1024)
        self.health_port = health.sockets[0].getsockname()[1]
        await self._register()
        tell({"event": "ready"})
        self._start(self._beat())
        for number in range(self.fleet.watchers):
            self._start(self._watch(number))
        await asyncio.sleep(self.fleet.settle)
        tell({"event": "begin"})
        self.measuring, before = True, time.perf_counter()
        await self._change()
        self.measuring, seconds = False, time.perf_counter() - before
        tell({"event": "end", "seconds": seconds})
        deadline = time.perf_counter() + (AFTER if self.tally.watched else 2 * OLD)
        while any(self.waiting) and time.perf_counter() < deadline:
            await asyncio.sleep(0.05)
        for task in list(self.tasks):
            task.cancel()
        for left in self.waiting:
            self.tally.failures.update(["a change that a watcher did not see"] * len(left))
        tell({"event": "figures", **{name: getattr(self.tally, name) for name in Tally.__slots__}})

    async def _register(self) -> None:
        todo = iter(self.names)

        async def some() -> None:
            connection = Connection(self.fleet.port)
            for name in todo:
                status, _, told = await connection.ask("POST", "/services", self._registration(name), secret(name))
                if status != 201:
                    raise SystemExit(f"the registry refuses a registration: {status} {told.decode()}")
            connection.close()

        await asyncio.gather(*[some() for _ in range(REGISTERING)])

    async def _beat(self) -> None:
        """Each name once in an interval, evenly spread, in a random order."""
        order, pause = list(self.names), self.fleet.interval / len(self.names)
        random.shuffle(order)
        due = time.perf_counter()
        while True:
            for name in order:
                due += pause
                if (left := due - time.perf_counter()) > 0:
                    await asyncio.sleep(left)
                self._start(self._one(name, self.states[name]))

    async def _one(self, name: str, state: str) -> None:
        """One heartbeat."""
        began = time.perf_counter()
        connection = self.spare.pop() if self.spare else Connection(self.fleet.port, self.fleet.keep)
        path, body = f"/services/{name}/heartbeat", b'{"status": "%b"}' % state.encode()
        try:
            status, _, _ = await asyncio.wait_for(connection.ask("POST", path, body, secret(name)), PATIENCE)
        except (OSError, TimeoutError) as error:
            self.tally.failures[f"heartbeat: {error or 'no answer'}"] += 1
            return
        self.spare.append(connection)
        if status != 200:
            self.tally.failures[f"heartbeat: status {status}"] += 1
        elif self.measuring:
            self.tally.beats += 1
            self.tally.took.append(time.perf_counter() - began)

    async def _change(self) -> None:
        """A heartbeat that brings another state, every now and then."""
        chance, end = random.Random(1), time.perf_counter() + self.fleet.seconds
        while (left := end - time.perf_counter()) > 0:
            await asyncio.sleep(min(left, self.fleet.changes * chance.uniform(0.5, 1.5)))
            name = f"i{chance.randrange(self.fleet.instances):04}-server"
            if any(change.name == name.encode() for waiting in self.waiting for change in waiting):
                continue
            state = self.states[name] = "draining" if self.states[name] == "running" else "running"
            change = Change(name.encode(), state.encode(), time.perf_counter())
            for waiting in self.waiting:
                waiting.append(change)
            self.tally.changes += 1
            self._start(self._one(name, state))

    async def _watch(self, number: int) -> None:
        connection, path = Connection(self.fleet.port), "/services"
        while True:
            try:
                status, index, body = await connection.ask("GET", path)
            except OSError as error:
                self.tally.failures[f"watch: {error}"] += 1
                await asyncio.sleep(1)
                continue
            now = time.perf_counter()
            if status != 200:
                self.tally.failures[f"watch: status {status}"] += 1
                await asyncio.sleep(1)
                continue
            shown = [change for change in self.waiting[number] if change.shows(body)]
            self.waiting[number] = [change for change in self.waiting[number] if change not in shown]
            self.tally.seen += [now - change.at for change in shown]
            self.tally.list_bytes = len(body)
            if index < 0:
                self.tally.watched = False
                await asyncio.sleep(OLD)
            else:
                path = f"/services?index={index}&wait=30"
                await asyncio.sleep(PAUSE)

    async def _healthy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """All babysitters' /health."""
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                self.tally.checks += self.measuring
                writer.write(OK)
        except (asyncio.IncompleteReadError, OSError):
            writer.close()

    def _registration(self, name: str) -> bytes:
        """As babysitters do; each instance and its babysitter have an address for health checks of their own."""
        number = int(name[1:5])
        health = f"http://127.0.0.1:{self.health_port}/{number}/health"
        about = {"type": "babysitter", "server": f"{name}-server"}
        if name.endswith("-server"):
            model = f"model-{number % 10}"
            listed = {"id": model, "object": "model", "created": 1700000000, "owned_by": "vllm", "max_model_len": 32768}
            about = {
                "type": "openai-api",
                "parent_service": name[:5],
                "babysitter": f"http://127.0.0.1:{self.health_port}",
                "models": [model],
                "models_list": [listed],
            }
        told = {
            "name": name,
            "host": "127.0.0.1",
            "hostname": f"host{number % 50}",
            "port": self.health_port,
            "url": f"http://127.0.0.1:{self.health_port}",
            "status": "running",
            "weight": 1,
            "timestamp": "2026-01-01T00:00:00Z",
            "lease_seconds": max(30.0, 3 * self.fleet.interval),
            "metadata": {**about, "health_url": health},
        }
        return json.dumps(told).encode()

    def _start(self, work) -> None:  # noqa: ANN001
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


def secret(name: str) -> str:
    return f"X-Service-Secret: secret-of-{name[:5]}\r\n"


def tell(what: dict) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    try:
        uvloop.run(Run(Fleet(**json.loads(sys.argv[1]))).all())
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        sys.exit(f"beats.py: the registry does not answer: {error}")
