"""A trace on real sites: supervisord, babysitters, registry, router, and mocks on simulated GPUs; time is shortened.

Two directories are the two hosts. The first one has the registry and the router, too.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

from demand.simulation import Outcome, SiteSettings
from demand.trace import KEPT, Request
from svc.mock.gpu_state import GpuStateFile

SVC = [sys.executable, "-m", "svc"]
READY_SECONDS = 60.0
ANSWER_SECONDS = 600.0
TOKENS = 5  # of each answer
TOML = """
name = "{name}"
port = {port}
registry_url = "{registry}"
router_url = "{router}"
[resources]
gpus = 1
gpu_memory = "{gigabytes}GB"
[babysitter]
{babysitter}
heartbeat_interval = 5
continuation_probe = false
[backend]
type = "mock"
models = ["{model}"]
args = ["--gpu-memory", "{gigabytes}GB", "--gpu-state", "{state}", "--load-time", "{load}", "--tokens", "{tokens}",
        "--first-token-delay", "{first_token}"]
"""


def free_ports(count: int) -> list[int]:
    """Return ports that are free now, each with the next one, below those of outgoing connections."""
    ports: list[int] = []
    for port in range(21_000, 31_000, 2):
        with closing(socket.socket()) as one, closing(socket.socket()) as two:
            try:
                one.bind(("127.0.0.1", port))
                two.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
        ports.append(port)
        if len(ports) == count:
            break
    return ports


class RealSite:
    """The hosts of one run."""

    def __init__(self, root: Path, settings: SiteSettings, models: Sequence[str]) -> None:
        self.root = root
        self.settings = settings
        ports = iter(free_ports(2 + settings.hosts * len(models)))
        self.registry_port, self.router_port = next(ports), next(ports)
        self.hosts = [root / f"h{number}" for number in range(1, settings.hosts + 1)]
        self.gpus = [GpuStateFile(host / "gpus" / "gpus.json") for host in self.hosts]
        for number, host in enumerate(self.hosts):
            (host / "config").mkdir(parents=True)
            self._write_settings(host, models, is_first=number == 0)
            for model in models:
                if model != KEPT or number == 0:
                    self._write_instance(host, number, model, next(ports))

    def _write_settings(self, host: Path, models: Sequence[str], is_first: bool) -> None:
        settings = self.settings
        lines = [f"[registry]\nport = {self.registry_port}", f"[router]\nport = {self.router_port}"]
        lines.append("registry_sync_interval = 0.5\nqueue_size = 5000")
        if not is_first:
            lines.append('[launch]\ncomponents = "babysitter"')
        lines += [f'[[model]]\nname = "{model}"\nawake_max = 1' for model in models if model != KEPT]
        lines.append(f"[on_demand]\nparallel_loads = {settings.parallel_loads}\nstay_factor = {settings.stay_factor}")
        (host / "config" / "svc.toml").write_text("\n".join(lines) + "\n")

    def _write_instance(self, host: Path, number: int, model: str, port: int) -> None:
        settings = self.settings
        keeps = f"on_demand = true\nidle_after = 0\nmin_awake = {settings.min_awake}\nwake_timeout = 600"
        text = TOML.format(
            name=f"{model}-h{number + 1}",
            port=port,
            registry=f"http://127.0.0.1:{self.registry_port}",
            router=f"http://127.0.0.1:{self.router_port}",
            gigabytes=settings.model_memory // 10**9,
            babysitter="" if model == KEPT else keeps,
            model=model,
            state=self.gpus[number].path,
            load=settings.load_seconds,
            tokens=TOKENS,
            first_token=settings.first_token,
        )
        (host / "config" / f"{model}-h{number + 1}.toml").write_text(text)

    def start(self) -> None:
        for host, file in zip(self.hosts, self.gpus, strict=True):
            size = f"{self.settings.gpu_memory // 10**9}GB"
            self._svc(host, "mock-gpus", str(file.path.parent), "--gpus", str(self.settings.gpus), "--memory", size)
            only = [] if host is self.hosts[0] else ["--only", "babysitter"]
            self._svc(host, "up", *only)

    def end(self) -> None:
        for host in reversed(self.hosts):
            subprocess.run([*SVC, "down"], cwd=host, capture_output=True, check=False)

    def _svc(self, host: Path, *arguments: str) -> None:
        environment = os.environ | {"PATH": f"{host / 'gpus'}:{os.environ['PATH']}"}
        done = subprocess.run([*SVC, *arguments], cwd=host, env=environment, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"svc {' '.join(arguments)}: {done.stdout}{done.stderr}")

    def events(self) -> list[dict[str, Any]]:
        """Return what the mocks did with the GPUs, in order."""
        return sorted((event for file in self.gpus for event in file.events()), key=lambda event: event["time"])


@contextmanager
def running(settings: SiteSettings, models: Sequence[str]) -> Iterator[RealSite]:
    """Yield sites that run, in a short directory, because a socket's path is short."""
    root = Path(tempfile.mkdtemp(prefix="od-", dir="/tmp"))
    site = RealSite(root, settings, models)
    try:
        site.start()
        yield site
    finally:
        site.end()
        shutil.rmtree(root, ignore_errors=True)


def first_byte(port: int, request: Request, max_tokens: int = TOKENS) -> float | None:
    """Send a request and return the seconds until its first token; None if it failed."""
    content = {"model": request.model, "stream": True, "max_tokens": max_tokens}
    body = json.dumps(content | {"messages": [{"role": "user", "content": "a b c d e f g"}]}).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: r\r\nConnection: close\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    began, first, answer = time.monotonic(), 0.0, b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS) as sock:
            sock.sendall(head.encode() + body)
            while part := sock.recv(65536):
                answer += part
                if not first and b"data: {" in answer:
                    first = time.monotonic() - began
    except OSError:
        return None
    succeeded = answer.startswith(b"HTTP/1.1 200") and b"data: [DONE]" in answer and b'"error"' not in answer
    return first if succeeded else None


class Servers(Protocol):
    """What serves a trace."""

    router_port: int

    def events(self) -> list[dict[str, Any]]:
        """Return what the mocks did with the GPUs."""


def serve(site: Servers, requests: Sequence[Request], scale: float) -> Outcome:
    """Send the requests at their times, and return what happened."""
    outcome, lock, threads = Outcome(), threading.Lock(), []

    def send(request: Request) -> None:
        seconds = first_byte(site.router_port, request)
        with lock:
            if seconds is None:
                outcome.unserved += 1
            else:
                outcome.waits[request.model].append(seconds)

    threading.stack_size(256 << 10)
    began = time.monotonic()
    for request in requests:
        time.sleep(max(0.0, began + request.at * scale - time.monotonic()))
        threads.append(threading.Thread(target=send, args=(request,)))
        threads[-1].start()
    for thread in threads:
        thread.join()
    events = site.events()
    kept = f"{KEPT}-h1"
    outcome.loads = [(e["time"], e["name"]) for e in events if e["event"] == "load" and e["name"] != kept]
    outcome.out_of_memory = sum(event["event"] == "out_of_memory" for event in events)
    return outcome
