"""Several hosts on this machine: network namespaces, joined by a bridge in one more. Needs root."""

import ctypes
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest
import requests

T = TypeVar("T")
SVC = [sys.executable, "-m", "svc"]
CLONE_NEWNET = 0x40000000
HOST_TIMEOUT_SECONDS = 20.0


def missing() -> str:
    """Return why this machine cannot have network namespaces, else ""."""
    if not shutil.which("ip"):
        return "there is no `ip` (Debian: apt install iproute2)"
    if os.geteuid() != 0:
        return "network namespaces need root"
    probe = f"probe-{secrets.token_hex(3)}"
    process = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True)
    if process.returncode:
        return f"this machine allows no network namespaces: {process.stderr.strip()}"
    ip("netns", "del", probe)
    return ""


def ip(*arguments: str) -> None:
    process = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    if process.returncode:
        pytest.fail(f"ip {' '.join(arguments)}: {process.stderr.strip()}")


class Network:
    """Hosts on one bridge: h1 at 10.77.0.1 and so on, or at the given addresses."""

    def __init__(self, count: int, place: Path, addresses: Sequence[str] = ()) -> None:
        self.key = secrets.token_hex(3)
        self.hub = f"hub-{self.key}"
        self.hosts: list[Host] = []
        ip("netns", "add", self.hub)
        ip("-n", self.hub, "link", "add", "bridge", "type", "bridge", "forward_delay", "0")
        ip("-n", self.hub, "link", "set", "bridge", "up")
        for number in range(1, count + 1):
            directory = place / f"h{number}"
            directory.mkdir()
            address = addresses[number - 1] if addresses else f"10.77.0.{number}"
            self.hosts.append(Host(self, number, directory, address))

    def close(self) -> None:
        for host in self.hosts:
            host.close()
        ip("netns", "del", self.hub)


class Host:
    """One network namespace, with the processes that run in it; `close` ends them."""

    def __init__(self, network: Network, number: int, directory: Path, address: str) -> None:
        self.number = number
        self.directory = directory
        self.name = f"h{number}-{network.key}"
        self.address = address
        self.hub, self.link = network.hub, f"to-h{number}"
        self.processes: list[subprocess.Popen] = []
        ip("netns", "add", self.name)
        ip("-n", self.hub, "link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        ip("-n", self.hub, "link", "set", self.link, "master", "bridge", "up")
        ip("-n", self.name, "addr", "add", f"{self.address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            ip("-n", self.name, "link", "set", device, "up")
        self._inside = ThreadPoolExecutor(4, initializer=enter, initargs=(self.name,))

    def cut(self) -> None:
        ip("-n", self.hub, "link", "set", self.link, "down")

    def heal(self) -> None:
        ip("-n", self.hub, "link", "set", self.link, "up")

    def svc(self, *arguments: object) -> None:
        """Start `svc ...` on this host."""
        self.run(*SVC, *map(str, arguments))

    def run(self, *command: str) -> None:
        environ = {**os.environ, "HOME": str(self.directory), "XDG_RUNTIME_DIR": str(self.directory)}
        with (self.directory / "log").open("ab") as log:
            self.processes.append(
                subprocess.Popen(
                    ["ip", "netns", "exec", self.name, *command],
                    cwd=self.directory,
                    env=environ,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )

    def ask(self, method: str, url: str, timeout: float = HOST_TIMEOUT_SECONDS, **options: Any) -> requests.Response:
        """Send a request from this host."""
        return self.inside(lambda: requests.request(method, url, timeout=timeout, **options))

    def inside(self, work: Callable[[], T]) -> T:
        """Call `work` in a thread whose sockets are those of this host."""
        return self._inside.submit(work).result(3 * HOST_TIMEOUT_SECONDS)

    def log(self) -> str:
        return (self.directory / "log").read_text()

    def close(self) -> None:
        self._inside.shutdown()
        for process in self.processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(HOST_TIMEOUT_SECONDS)
        ip("netns", "del", self.name)


def enter(name: str) -> None:
    """Move the calling thread into a namespace. Python has os.setns only from 3.12 on."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/run/netns/{name}") as namespace:
        if libc.setns(namespace.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot enter {name}")
