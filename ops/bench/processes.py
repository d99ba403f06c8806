"""Programs that we start, what they cost, and the limits that they inherit."""

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

READY = 60  # seconds that a program has until it answers
STOP = 10  # seconds that a program has to end by itself


class Program:
    """A program in a session of its own, with its output in a file."""

    def __init__(self, argv: list[str], log: Path, **popen: Any) -> None:
        self.log = log
        with log.open("wb") as output:
            given: dict[str, Any] = {"stdout": output, "stderr": output, "stdin": subprocess.DEVNULL} | popen
            self._process = subprocess.Popen(argv, start_new_session=True, **given)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def output(self) -> IO[bytes]:
        assert self._process.stdout
        return self._process.stdout

    def answers(self, port: int, model: str) -> bool:
        """Whether it comes to answer a request at `port`; it may listen long before."""
        deadline = time.monotonic() + READY
        while self.alive and time.monotonic() < deadline:
            if asked(port, model):
                return True
            time.sleep(0.2)
        return False

    def cpu(self) -> float:
        """Seconds of CPU that it and its children have used so far, to the nanosecond."""
        return sum(cpu(pid) for pid in family(self._process.pid))

    def memory(self) -> float:
        """MB of it and its children, what they share counted once (PSS)."""
        return sum(memory(pid) for pid in family(self._process.pid))

    def stop(self) -> None:
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # what it left behind, or itself
        self._process.wait()


def family(pid: int) -> list[int]:
    """The process and all that descend from it."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = task.read_text().split()
        except OSError:  # it ended meanwhile
            continue
        for child in children:
            found += family(int(child))
    return found


def cpu(pid: int) -> float:
    """Seconds; the clock is what clock_getcpuclockid(3) gives for a process: exact, and with threads that ended."""
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


def asked(port: int, model: str) -> bool:
    question = {"model": model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("POST", "/v1/chat/completions", json.dumps(question), {"Content-Type": "application/json"})
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
    """`count` open files for us and all that we start; raises PermissionError where the system does not let us."""
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
