"""A Redis server for tests: in a directory, on a free port, with its append-only file on."""

import os
import re
import shutil
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from tests.waiting import free_port, wait_until

MISSING_REDIS = "redis-server is not installed (Debian: apt install redis-server)"


class RedisServer:
    """A Redis that can be stopped or killed, and started again with everything that it acknowledged."""

    def __init__(
        self, place: Path, *flags: str, scheme: str = "redis", cert: Path | None = None, key: Path | None = None
    ) -> None:
        if not shutil.which("redis-server"):
            pytest.fail(MISSING_REDIS) if os.environ.get("CI") else pytest.skip(MISSING_REDIS)
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
        # Sync each write: by default, a busy disk may delay the sync of a write that is acknowledged.
        durability = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        options = ["--bind", "127.0.0.1", "--dir", str(self.place), *durability]
        with (self.place / "redis.log").open("ab") as log:
            self.process = subprocess.Popen(["redis-server", *self.listen, *options, *self.flags], stdout=log)
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

    def cli(self, *arguments: str) -> str:
        command = ["redis-cli", "-p", str(self.port), *arguments]
        process = subprocess.run(command, capture_output=True, text=True, timeout=10)
        return process.stdout.strip()

    def subscribers(self) -> set[str]:
        """Return the ids of the connections that are subscribed to a channel."""
        return set(re.findall(r"(?m)^id=(\d+)", self.cli("client", "list", "type", "pubsub")))

    def _listens(self) -> bool:
        assert self.process.poll() is None, (self.place / "redis.log").read_text()
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False
