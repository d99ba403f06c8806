"""The fleet with which registry.py loads the registry: instances, their babysitters and watchers, in one thread.

Its command line has the Fleet as JSON. It prints its progress in lines of JSON: `ready`, `begin`, `end` and the
figures.
"""

import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field

import uvloop

CONCURRENT_REGISTRATIONS = 20
LAST_CHANGE_TIMEOUT_SECONDS = 5.0  # until every watcher has the last change
HEARTBEAT_TIMEOUT_SECONDS = 30.0
WATCH_PAUSE_SECONDS = 0.02  # between two lists of a watcher, as in routers
SCRAPE_INTERVAL_SECONDS = 15.0  # of Prometheus
USUAL_HEADERS = (  # of the clients of routers and babysitters, which close their connections after an answer
    "Host: bench\r\nUser-Agent: python-requests/2.32.5\r\nAccept-Encoding: gzip, deflate\r\nAccept: */*\r\n"
    "Connection: keep-alive\r\nContent-Type: application/json\r\n"
)
POLL_INTERVAL_SECONDS = 10.0  # of a registry that cannot be watched: the router's fallback
HEALTHY_ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n" + b'{"status":"healthy"}'
)


@dataclass(frozen=True, slots=True)
class Fleet:
    port: int  # the registry's
    instances: int
    watchers: int
    interval: float  # seconds between two heartbeats of a name
    changes: float  # seconds between two changes
    seconds: float
    settle: float  # seconds between the last registration and the measurement
    keep: bool  # keep connections for the next heartbeat
    token: str  # the registry's
    loads: float = 0.0  # seconds between two reports of an instance's load, and between two reads of a router; 0: none


@dataclass(slots=True)
class FleetStatistics:
    beats: int = 0
    took: list[float] = field(default_factory=list)  # seconds of each heartbeat
    seen: list[float] = field(default_factory=list)  # seconds until each watcher had each change
    changes: int = 0
    checks: int = 0  # health checks by the registry
    loads: int = 0  # reports
    list_bytes: int = 0
    watched: bool = True
    failures: Counter = field(default_factory=Counter)


@dataclass(slots=True)
class Change:
    name: bytes
    status: bytes
    at: float  # when it was sent

    def is_in(self, body: bytes) -> bool:
        """Return whether a list has the change. Parsing the list would take longer than the time that is measured."""
        start = body.find(b'"name":"%b"' % self.name)
        if start < 0:
            start = body.find(b'"name": "%b"' % self.name)
        entry = body[start : start + 500].replace(b'": "', b'":"')
        return start >= 0 and b'"status":"%b"' % self.status in entry


class Connection:
    """One connection to the registry, opened again when it was closed; without `keep`, closed after each answer."""

    def __init__(self, fleet: Fleet, keep: bool) -> None:
        self.port = fleet.port
        self.keep = keep
        self.headers = f"{USUAL_HEADERS}Authorization: Bearer {fleet.token}\r\n"
        self.writer: asyncio.StreamWriter | None = None

    async def request(self, method: str, path: str, body: bytes = b"", headers: str = "") -> tuple[int, int, bytes]:
        """Return status, X-Registry-Index (-1: none) and body; raise OSError on any failure."""
        if self.writer is None or self.reader.at_eof():
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 22)
        head = f"{method} {path} HTTP/1.1\r\n{self.headers}Content-Length: {len(body)}\r\n{headers}\r\n"
        self.writer.write(head.encode() + body)
        try:
            answer = await self.reader.readuntil(b"\r\n\r\n")
            answer_headers = dict(line.lower().split(b": ", 1) for line in answer.split(b"\r\n")[1:-2])
            content = await self.reader.readexactly(int(answer_headers[b"content-length"]))
        except (asyncio.IncompleteReadError, KeyError, ValueError) as error:
            self.close()
            raise ConnectionError(f"no whole answer: {type(error).__name__}") from None
        if not self.keep or answer_headers.get(b"connection") == b"close":
            self.close()
        return int(answer[9:12]), int(answer_headers.get(b"x-registry-index", -1)), content

    def close(self) -> None:
        if self.writer:
            self.writer.close()
            self.writer = None


class FleetRun:
    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.statistics = FleetStatistics()
        self.names = [name for n in range(fleet.instances) for name in (f"i{n:04}", f"i{n:04}-server")]
        self.states = dict.fromkeys(self.names, "running")
        self.idle_connections = [Connection(fleet, fleet.keep)]
        self.pending: list[list[Change]] = [[] for _ in range(fleet.watchers)]
        self.tasks: set[asyncio.Task] = set()
        self.measuring = False

    async def run(self) -> None:
        health = await asyncio.start_server(self._answer_health_checks, "127.0.0.1", 0, backlog=1024)
        self.health_port = health.sockets[0].getsockname()[1]
        await self._register()
        report({"event": "ready"})
        self._start(self._send_heartbeats())
        for number in range(self.fleet.watchers):
            self._start(self._watch(number))
            self._start(self._follow_events())
        self._start(self._scrape())
        if self.fleet.loads:
            for name in self.names[1::2]:
                self._start(self._report_loads(name))
            for _ in range(self.fleet.watchers):
                self._start(self._read_loads())
        await asyncio.sleep(self.fleet.settle)
        report({"event": "begin"})
        self.measuring, before = True, time.perf_counter()
        await self._make_changes()
        self.measuring, seconds = False, time.perf_counter() - before
        report({"event": "end", "seconds": seconds})
        deadline = time.perf_counter() + (
            LAST_CHANGE_TIMEOUT_SECONDS if self.statistics.watched else 2 * POLL_INTERVAL_SECONDS
        )
        while any(self.pending) and time.perf_counter() < deadline:
            await asyncio.sleep(0.05)
        for task in list(self.tasks):
            task.cancel()
        for missed in self.pending:
            self.statistics.failures.update(["a change that a watcher did not see"] * len(missed))
        report({"event": "figures", **{name: getattr(self.statistics, name) for name in FleetStatistics.__slots__}})

    async def _register(self) -> None:
        names = iter(self.names)

        async def register_names() -> None:
            connection = Connection(self.fleet, keep=False)
            for name in names:
                status, _, body = await connection.request("POST", "/services", self._registration(name), secret(name))
                if status != 201:
                    raise SystemExit(f"the registry refuses a registration: {status} {body.decode()}")
            connection.close()

        await asyncio.gather(*[register_names() for _ in range(CONCURRENT_REGISTRATIONS)])

    async def _send_heartbeats(self) -> None:
        """Send a heartbeat of each name once in an interval, evenly spread, in a random order."""
        order, pause = list(self.names), self.fleet.interval / len(self.names)
        random.shuffle(order)
        due = time.perf_counter()
        while True:
            for name in order:
                due += pause
                if (pause_left := due - time.perf_counter()) > 0:
                    await asyncio.sleep(pause_left)
                self._start(self._send_heartbeat(name, self.states[name]))

    async def _send_heartbeat(self, name: str, state: str) -> None:
        began = time.perf_counter()
        connection = self.idle_connections.pop() if self.idle_connections else Connection(self.fleet, self.fleet.keep)
        path, body = f"/services/{name}/heartbeat", b'{"status": "%b"}' % state.encode()
        try:
            status, _, _ = await asyncio.wait_for(
                connection.request("POST", path, body, secret(name)), HEARTBEAT_TIMEOUT_SECONDS
            )
        except (OSError, TimeoutError) as error:
            self.statistics.failures[f"heartbeat: {error or 'no answer'}"] += 1
            return
        self.idle_connections.append(connection)
        if status != 200:
            self.statistics.failures[f"heartbeat: status {status}"] += 1
        elif self.measuring:
            self.statistics.beats += 1
            self.statistics.took.append(time.perf_counter() - began)

    async def _report_loads(self, name: str) -> None:
        """Report the load of one instance once in an interval, on a connection that stays open, as its babysitter."""
        connection, path = Connection(self.fleet, keep=True), f"/services/{name}/load"
        await asyncio.sleep(random.random() * self.fleet.loads)
        while True:
            load = {"running": random.randrange(30), "waiting": 0, "kv_cache": round(random.random(), 4)}
            body = json.dumps({**load, "tokens_per_second": 100.5, "interval": self.fleet.loads}).encode()
            try:
                status, _, _ = await asyncio.wait_for(
                    connection.request("POST", path, body, secret(name)), HEARTBEAT_TIMEOUT_SECONDS
                )
            except (OSError, TimeoutError) as error:
                connection.close()
                self.statistics.failures[f"load: {error or 'no answer'}"] += 1
            else:
                if status != 200:
                    self.statistics.failures[f"load: status {status}"] += 1
                self.statistics.loads += self.measuring
            await asyncio.sleep(self.fleet.loads)

    async def _read_loads(self) -> None:
        """Read the loads, as a router does."""
        connection = Connection(self.fleet, keep=False)
        while (await connection.request("GET", "/loads"))[0] == 200:
            await asyncio.sleep(self.fleet.loads)

    async def _make_changes(self) -> None:
        """Send a heartbeat with another state at random intervals."""
        generator, end = random.Random(1), time.perf_counter() + self.fleet.seconds
        while (remaining := end - time.perf_counter()) > 0:
            await asyncio.sleep(min(remaining, self.fleet.changes * generator.uniform(0.5, 1.5)))
            name = f"i{generator.randrange(self.fleet.instances):04}-server"
            if any(change.name == name.encode() for pending in self.pending for change in pending):
                continue
            state = self.states[name] = "draining" if self.states[name] == "running" else "running"
            change = Change(name.encode(), state.encode(), time.perf_counter())
            for pending in self.pending:
                pending.append(change)
            self.statistics.changes += 1
            self._start(self._send_heartbeat(name, state))

    async def _watch(self, number: int) -> None:
        connection, path = Connection(self.fleet, keep=False), "/services"
        while True:
            try:
                status, index, body = await connection.request("GET", path)
            except OSError as error:
                self.statistics.failures[f"watch: {error}"] += 1
                await asyncio.sleep(1)
                continue
            now = time.perf_counter()
            if status != 200:
                self.statistics.failures[f"watch: status {status}"] += 1
                await asyncio.sleep(1)
                continue
            received = [change for change in self.pending[number] if change.is_in(body)]
            self.pending[number] = [change for change in self.pending[number] if change not in received]
            self.statistics.seen += [now - change.at for change in received]
            self.statistics.list_bytes = len(body)
            if index < 0:
                self.statistics.watched = False
                await asyncio.sleep(POLL_INTERVAL_SECONDS)
            else:
                path = f"/services?index={index}&wait=30"
                await asyncio.sleep(WATCH_PAUSE_SECONDS)

    async def _follow_events(self) -> None:
        """Follow the events, as a router does while a page is open; end if the registry has none."""
        connection, path = Connection(self.fleet, keep=False), "/events?limit=100"
        while True:
            try:
                status, _, body = await connection.request("GET", path)
            except OSError as error:
                self.statistics.failures[f"events: {error}"] += 1
                await asyncio.sleep(1)
                continue
            if status != 200:
                return
            path = f"/events?limit=100&after={json.loads(body)['last']}&wait=30"

    async def _scrape(self) -> None:
        """Request the metrics, as Prometheus does; end if the registry has none."""
        connection = Connection(self.fleet, keep=True)
        while (await connection.request("GET", "/metrics"))[0] == 200:
            await asyncio.sleep(SCRAPE_INTERVAL_SECONDS)

    async def _answer_health_checks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the /health of every babysitter."""
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                self.statistics.checks += self.measuring
                writer.write(HEALTHY_ANSWER)
        except (asyncio.IncompleteReadError, OSError):
            writer.close()

    def _registration(self, name: str) -> bytes:
        """Return the registration that a babysitter sends, with an own address for the health check of each name."""
        number = int(name[1:5])
        health = f"http://127.0.0.1:{self.health_port}/{number}/health"
        metadata = {"type": "babysitter", "server": f"{name}-server"}
        if name.endswith("-server"):
            model = f"model-{number % 10}"
            model_object = {
                "id": model,
                "object": "model",
                "created": 1700000000,
                "owned_by": "vllm",
                "max_model_len": 32768,
            }
            metadata = {
                "type": "openai-api",
                "parent_service": name[:5],
                "babysitter": f"http://127.0.0.1:{self.health_port}",
                "models": [model],
                "models_list": [model_object],
            }
        registration = {
            "name": name,
            "host": "127.0.0.1",
            "hostname": f"host{number % 50}",
            "port": self.health_port,
            "url": f"http://127.0.0.1:{self.health_port}",
            "status": "running",
            "weight": 1,
            "timestamp": "2026-01-01T00:00:00Z",
            "lease_seconds": max(30.0, 3 * self.fleet.interval),
            "metadata": {**metadata, "health_url": health},
        }
        return json.dumps(registration).encode()

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


def secret(name: str) -> str:
    return f"X-Service-Secret: secret-of-{name[:5]}\r\n"


def report(event: dict) -> None:
    print(json.dumps(event), flush=True)


if __name__ == "__main__":
    try:
        uvloop.run(FleetRun(Fleet(**json.loads(sys.argv[1]))).run())
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        sys.exit(f"fleet.py: the registry does not answer: {error}")
