"""Start programs, measure their CPU and memory, and raise the limits that they inherit."""

import http.client
import json
import os
import resource
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

START_TIMEOUT_SECONDS = 60
STOP_TIMEOUT_SECONDS = 10


class Program:
    """A program in its own session, with its output in a file."""

    def __init__(self, argv: list[str], log: Path, **popen: Any) -> None:
        self.log = log
        with log.open("wb") as output:
            arguments: dict[str, Any] = {"stdout": output, "stderr": output, "stdin": subprocess.DEVNULL} | popen
            self._process = subprocess.Popen(argv, start_new_session=True, **arguments)

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    @property
    def output(self) -> IO[bytes]:
        assert self._process.stdout
        return self._process.stdout

    def wait_until_ready(self, port: int, model: str, seconds: float = START_TIMEOUT_SECONDS) -> bool:
        """Return whether it answers a request at `port` in time; it may accept connections long before."""
        deadline = time.monotonic() + seconds
        while self.is_alive and time.monotonic() < deadline:
            if answers(port, model):
                return True
            time.sleep(0.2)
        return False

    def cpu(self) -> float:
        """Return the CPU seconds that it and its children have used so far, to the nanosecond."""
        return sum(cpu(pid) for pid in process_tree(self._process.pid))

    def sleeps(self) -> int:
        """Return how often it and its children have waited for something so far."""
        return sum(sleeps(pid) for pid in process_tree(self._process.pid))

    def memory(self) -> float:
        """Return the MB of it and its children, with shared pages counted once (PSS)."""
        return sum(memory(pid) for pid in process_tree(self._process.pid))

    def stop(self) -> None:
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_TIMEOUT_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # its remaining children, or itself
        self._process.wait()


def process_tree(pid: int) -> list[int]:
    """Return the pids of the process and of all its descendants."""
    pids = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = task.read_text().split()
        except OSError:  # it ended meanwhile
            continue
        for child in children:
            pids += process_tree(int(child))
    return pids


def sleeps(pid: int) -> int:
    """Return the voluntary context switches of a process so far."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return int(status.rpartition("\nvoluntary_ctxt_switches:")[2].split()[0])


def cpu(pid: int) -> float:
    """Return the CPU seconds of a process by the clock of clock_getcpuclockid(3): exact, and with ended threads."""
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0


def memory(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def answers(port: int, model: str) -> bool:
    payload = {"model": model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("POST", "/v1/chat/completions", json.dumps(payload), {"Content-Type": "application/json"})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def allow_files(count: int) -> None:
    """Raise the limit of open files, also for programs that are started, or raise PermissionError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= count:
        return
    enough = hard == resource.RLIM_INFINITY or hard >= count
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard if enough else count))
    except (ValueError, OSError):
        raise PermissionError(
            f"this needs {count} open files and the limit is {hard}: raise it as root "
            f"(ulimit -Hn {count}, or nofile in /etc/security/limits.conf), or ask for less"
        ) from None
