"""A Redis of one's own: in a directory, on a free port, with its journal on."""

import os
import shutil
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from tests.waiting import free_port, wait_until

MISSING = "redis-server is not installed (Debian: apt install redis-server)"


class RedisServer:
    """Start, kill and stop it as often as you like; what it acknowledged it knows again."""

    def __init__(
        self, place: Path, *flags: str, scheme: str = "redis", cert: Path | None = None, key: Path | None = None
    ) -> None:
        if not shutil.which("redis-server"):
            pytest.fail(MISSING) if os.environ.get("CI") else pytest.skip(MISSING)
        place.mkdir(parents=True, exist_ok=True)
        self.place = place
        self.port = free_port()
        self.listen = ["--port", str(self.port)]
        if scheme == "rediss":
            files = ["--tls-cert-file", str(cert), "--tls-key-file", str(key), "--tls-auth-clients", "no"]
            self.listen = ["--port", "0", "--tls-port", str(self.port), *files]
        self.flags = flags
        self.url = f"{scheme}://127.0.0.1:{self.port}/0"
        self.process: subprocess.Popen | None = None

    def start(self) -> "RedisServer":
        # Each write at once: by default, an acknowledged one may wait for the fsync of a busy disk.
        journal = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        told = ["--bind", "127.0.0.1", "--dir", str(self.place), *journal]
        with (self.place / "redis.log").open("ab") as log:
            self.process = subprocess.Popen(["redis-server", *self.listen, *told, *self.flags], stdout=log)
        wait_until(self._listens, description="redis-server listens")
        return self

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None:
            with suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGCONT)
                self.process.send_signal(number)
            self.process.wait(15)

    def cli(self, *words: str) -> str:
        done = subprocess.run(["redis-cli", "-p", str(self.port), *words], capture_output=True, text=True, timeout=10)
        return done.stdout.strip()

    def _listens(self) -> bool:
        assert self.process.poll() is None, (self.place / "redis.log").read_text()
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False
