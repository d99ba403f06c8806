"""Mocks that can be killed and started again within milliseconds: one process has imported everything, and forks them.

Run as a program, it forks a mock for each port that it reads from its standard input, and prints the mock's pid.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from svc.mock.behaviour import Behaviour, MockOptions
from svc.mock.server import serve
from tests.waiting import free_port, wait_until

NAME, MODEL = "m", "m"


class Nursery:
    """The ports of some mocks, and the pids of their processes. All mocks have one name, so they answer alike."""

    def __init__(self, process: Any, count: int) -> None:
        self._process = process
        self.ports = [free_port() for _ in range(count)]
        self._pids = [self._fork(port) for port in self.ports]
        for port in self.ports:
            wait_until(lambda port=port: _accepts(port), description="the mock to listen", interval=0.01)

    def kill(self, index: int) -> None:
        """Kill a mock with SIGKILL."""
        os.kill(self._pids[index], signal.SIGKILL)
        wait_until(lambda: _has_ended(self._pids[index]), description="the mock to end", interval=0.01)

    def restart(self, index: int) -> None:
        """Start a killed mock again, and wait until it listens."""
        self._pids[index] = self._fork(self.ports[index])
        wait_until(lambda: _accepts(self.ports[index]), description="the mock to listen", interval=0.01)

    def end(self) -> None:
        for pid in self._pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _fork(self, port: int) -> int:
        self._process.stdin.write(f"{port}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


def _accepts(port: int) -> bool:
    with suppress(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 5).close()
        return True
    return False


def _has_ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@contextmanager
def nursery(count: int, token_delay: float) -> Iterator[Nursery]:
    command = [sys.executable, "-m", __name__, str(token_delay)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        made = None
        try:
            made = Nursery(process, count)
            yield made
        finally:
            if made is not None:
                made.end()
            assert process.stdin is not None
            process.stdin.close()


def main(arguments: Sequence[str]) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # so that killed mocks leave no zombies
    for line in iter(sys.stdin.readline, ""):
        pid = os.fork()
        if not pid:
            os.close(0)
            serve(MockOptions(NAME, int(line), (MODEL,), behaviour=Behaviour(token_delay=float(arguments[0]))))
            os._exit(0)
        print(pid, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
