"""Real routers to test: `svc router` processes, and the files that they read."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import requests

from tests.fork_server import start_server
from tests.integration.router.client import Client
from tests.waiting import free_port, wait_until

BIN = Path(sys.executable).parent
WORKERS = int(os.environ.get("ROUTER_WORKERS", "1"))  # the setting's own variable: the routers of tests inherit it


class Router:
    """A running router, which has `process_count` processes besides gunicorn's master."""

    def __init__(self, port: int, process: Any, output: Any, process_count: int = 1) -> None:
        self.port = port
        self._process_count = process_count
        self.url = f"http://127.0.0.1:{port}"
        self.process = process
        self._output = output

    def client(self) -> Client:
        return Client(self.port)

    def get(self, path: str) -> requests.Response:
        return requests.get(self.url + path, timeout=10)

    def service(self, name: str) -> dict[str, Any]:
        return next(s for s in self.get("/services").json()["services"] if s["name"] == name)

    def in_flight(self) -> int:
        return self.get("/stats").json()["in_flight"]

    def output(self) -> str:
        return os.pread(self._output.fileno(), 1 << 20, 0).decode()

    def assert_no_exception(self) -> None:
        """Read all of the output, which may be long."""
        start, size = 0, 1 << 20
        while part := os.pread(self._output.fileno(), size, start):
            start += len(part)
            for mark in (b"Traceback", b"a connection failed"):
                position = part.find(mark)
                assert position < 0, part[max(position - 1000, 0) : position + 5000].decode(errors="replace")

    def processes(self) -> list[int]:
        """Return the processes that gunicorn's master has started, the newest last."""
        return list(map(int, Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()))

    def worker(self) -> int:
        """Return the process that relays, the newest while one replaces another."""
        return self.processes()[-1]

    def is_complete(self) -> bool:
        """Return whether all of its processes have been forked; the first one may be ready before that."""
        return len(self.processes()) >= self._process_count

    def ready(self) -> bool:
        assert self.process.poll() is None, self.output()
        with suppress(requests.ConnectionError):
            return self.get("/readyz").status_code == 200
        return False


def static(path: Path, services: Sequence[dict[str, Any]]) -> Path:
    path.write_text(json.dumps({"services": list(services)}))
    return path


def service(name: str, port: int, *models: str, **more: Any) -> dict[str, Any]:
    metadata = {"type": "openai-api", "models": list(models), **more.pop("metadata", {})}
    return {"name": name, "host": "127.0.0.1", "port": port, "metadata": metadata, **more}


@contextmanager
def router(*flags: object, ready: bool = True, **environ: str) -> Iterator[Router]:
    port = free_port()
    arguments = ["--host", "127.0.0.1", "--port", port, *flags]
    with tempfile.TemporaryFile() as output:
        process = start_server("router", *arguments, env={**os.environ, **environ}, out=output)
        with _ended(Router(port, process, output, _process_count(flags))) as r:
            if ready:
                wait_until(lambda: r.ready() and r.is_complete(), description="the router to be ready")
            yield r


def _process_count(flags: Sequence[object]) -> int:
    """Return the number of processes besides gunicorn's master: with several that relay, one controls them."""
    relaying = int(str(flags[flags.index("--workers") + 1])) if "--workers" in flags else WORKERS
    return relaying + 1 if relaying > 1 else 1


@contextmanager
def running(command: Sequence[str], port: int, **environ: str) -> Iterator[Router]:
    """Run a command that starts a router, in a process group of its own."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env={**os.environ, **environ},
        )
        with _ended(Router(port, process, output)) as r:
            yield r


@contextmanager
def _ended(router: Router) -> Iterator[Router]:
    """Kill the router's process group at the end."""
    try:
        yield router
    finally:
        with suppress(ProcessLookupError):
            os.killpg(router.process.pid, signal.SIGKILL)
        router.process.wait(timeout=10)
