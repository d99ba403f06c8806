"""A real registry for tests: the process `svc registry`."""

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from svc.base.errors import Unavailable
from svc.client.registry import RegistryClient
from tests.fork_server import start_server
from tests.processes import await_end
from tests.waiting import free_port, wait_until

SVC = [sys.executable, "-m", "svc"]


class Registry:
    """A `svc registry` in a directory; it can be started again after its end."""

    def __init__(self, place: Path, *flags: str) -> None:
        self.place = place
        self.port = free_port()
        self.flags = flags
        self.log = place / "registry.log"
        self.client = RegistryClient(f"http://127.0.0.1:{self.port}")

    def start(self) -> "Registry":
        """Start it, and return when it answers."""
        self.launch()
        wait_until(self.answers, description=lambda: f"the registry answers: {self.log.read_text()}")
        return self

    def launch(self) -> None:
        with self.log.open("ab") as log:
            arguments = ["--port", self.port, *self.flags]
            environ = {**os.environ, "HOME": str(self.place), "XDG_RUNTIME_DIR": str(self.place)}
            self.process = start_server("registry", *arguments, cwd=self.place, env=environ, out=log)

    def answers(self):
        try:
            return self.client.health()
        except Unavailable:
            assert self.process.poll() is None, self.log.read_text()
            return None

    def worker(self) -> int:
        """Return the process id of the newest worker."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return max(map(int, children), default=0)

    def end(self, sig: signal.Signals = signal.SIGKILL) -> int:
        with suppress(ProcessLookupError):  # the whole process group, because a worker may outlive its master
            os.killpg(self.process.pid, sig)
        status = self.process.wait(15)
        if sig == signal.SIGKILL:
            await_end(self.process.pid)
        return status


def alive(pid: int) -> bool:
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
