"""Backends to test against: real `svc mock` processes."""

import os
import signal
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Any

import requests

from tests.fork_server import start_server
from tests.processes import await_end
from tests.waiting import free_port, wait_until


class Mock:
    """One `svc mock`, in its own process group. `start` restarts one that has ended, on the same port."""

    def __init__(self, name: str, models: Sequence[str], port: int, flags: dict[str, Any], output: IO[bytes]) -> None:
        self.name = name
        self.models = models
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.process: Any = None
        self.flags = flags
        self._output = output
        self._http = requests.Session()
        self._http.trust_env = False

    def start(self) -> None:
        """Start it and wait until it answers; kill what remains of an earlier one first."""
        self.end()
        self.process = start_server("mock", *self._arguments(), env=os.environ, out=self._output)
        wait_until(self._answers, description=f"mock {self.name} to answer on port {self.port}")

    def stats(self) -> dict[str, Any]:
        return self._http.get(f"{self.url}/mock/stats", timeout=10).json()

    def behave(self, **flags: Any) -> dict[str, Any]:
        """Change the flags (None resets one) and return all of them."""
        answer = self._http.post(f"{self.url}/mock/behave", json=flags, timeout=10)
        assert answer.ok, answer.text
        return answer.json()

    def kill(self, number: int = signal.SIGKILL) -> int:
        """Send the signal to the process, not to its child; wait for its end and return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(timeout=10)

    def output(self) -> str:
        """Return the text that it wrote to stdout and stderr."""
        return os.pread(self._output.fileno(), 1 << 20, 0).decode()

    def end(self) -> None:
        """Kill the process and its child, however it ended."""
        self._http.close()
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(timeout=10)
            await_end(self.process.pid)

    def _arguments(self) -> list[str]:
        arguments = ["--name", self.name, "--port", str(self.port), "--models", ",".join(self.models)]
        for key, value in self.flags.items():
            flag = f"--{key.replace('_', '-')}"
            arguments += [flag] if value is True else [] if value is None or value is False else [flag, str(value)]
        return arguments

    def _answers(self) -> bool:
        assert self.process.poll() is None, f"mock {self.name} ended with {self.process.returncode}: {self.output()}"
        with suppress(requests.ConnectionError):
            return bool(self.stats()["pid"] == self.process.pid)
        return False


@contextmanager
def mock(
    name: str = "m", models: Sequence[str] = ("model-a",), port: int | None = None, **flags: Any
) -> Iterator[Mock]:
    """Yield a mock that answers; `flags` are those of `svc mock` with underscores (True for one without a value)."""
    with tempfile.TemporaryFile() as output:
        backend = Mock(name, models, port or free_port(), flags, output)
        try:
            backend.start()
            yield backend
        finally:
            backend.end()
