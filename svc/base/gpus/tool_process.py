"""Runs a vendor's tool with a timeout: a tool that waits for a broken driver may not end, not even after SIGKILL."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from svc.base import procfs

MAX_OUTPUT_BYTES = 4 << 20
CHUNK_BYTES = 1 << 16
REAP_SECONDS = 1.0  # how long a killed process may take to end; after that it counts as hanging in the driver
MAX_COMPLAINT_LENGTH = 200


class Output(NamedTuple):
    """The output of a run; `problem` is why the run failed, or ""."""

    text: str
    problem: str = ""
    hangs: bool = False  # the run was killed after its timeout, or could not begin while an earlier one hangs


class ToolProcess:
    """Runs commands one after the other. As long as a killed process has not ended, no other one is started.

    Under gevent, other greenlets run while a command runs.
    """

    def __init__(self) -> None:
        self._hanging: subprocess.Popen[bytes] | None = None
        self._hanging_name = ""

    def run(self, command: Sequence[str], timeout: float) -> Output:
        """Return the output of `command`, which is killed if it has not ended after `timeout` seconds."""
        name = os.path.basename(command[0])
        if self._hanging is not None and self._hanging.poll() is None:
            return Output("", f"{self._hanging_name} hangs, and kill -9 does not end it", hangs=True)
        self._hanging = None
        environ = tool_environment(os.environ)
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ
            )
        except OSError as error:
            return Output("", f"cannot run {name}: {error.strerror}")
        return self._finish(process, name, timeout)

    def _finish(self, process: subprocess.Popen[bytes], name: str, timeout: float) -> Output:
        deadline = time.monotonic() + timeout
        streams = [stream for stream in (process.stdout, process.stderr) if stream is not None]
        try:
            texts = _read_to_end([stream.fileno() for stream in streams], deadline)
            process.wait(max(0.001, deadline - time.monotonic()))
        except (subprocess.TimeoutExpired, TimeoutError):
            self._kill(process, name)
            return Output("", f"{name} does not answer within {timeout:g} s", hangs=True)
        except OverflowError:
            self._kill(process, name)
            return Output("", f"{name} prints over {MAX_OUTPUT_BYTES >> 20} MB")
        finally:
            for stream in streams:
                stream.close()
        text, complaint = texts
        if process.returncode:
            reason = _first_line(complaint) or _first_line(text) or f"exit code {process.returncode}"
            return Output(text, f"{name} fails: {reason}")
        return Output(text)

    def _kill(self, process: subprocess.Popen[bytes], name: str) -> None:
        """Kill the process and its descendants; remember the process if it does not end."""
        for pid in (*procfs.descendants(process.pid), process.pid):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        try:
            process.wait(REAP_SECONDS)
        except subprocess.TimeoutExpired:
            self._hanging, self._hanging_name = process, f"{name} (pid {process.pid})"


def tool_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a tool: with English messages, and with svc's own Python last in PATH.

    AMD's tools are Python scripts that need packages of the system's Python. supervisord's extension has put svc's
    Python first in PATH.
    """
    own, path = os.path.dirname(sys.executable), environ.get("PATH", os.defpath).split(os.pathsep)
    others = [directory for directory in path if directory != own]
    return {**environ, "LC_ALL": "C", "PATH": os.pathsep.join(others + [own] * (len(others) < len(path)))}


def _read_to_end(descriptors: Sequence[int], deadline: float) -> list[str]:
    """Read the pipes until all are closed; return what was read from each.

    Raise TimeoutError at the deadline, and OverflowError after MAX_OUTPUT_BYTES.
    """
    contents = {descriptor: bytearray() for descriptor in descriptors}
    poller = select.poll()
    for descriptor in descriptors:
        poller.register(descriptor, select.POLLIN)
    open_pipes = set(descriptors)
    while open_pipes:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        for descriptor, _ in poller.poll(remaining * 1000):
            data = os.read(descriptor, CHUNK_BYTES)
            contents[descriptor] += data
            if not data:
                poller.unregister(descriptor)
                open_pipes.remove(descriptor)
        if sum(map(len, contents.values())) > MAX_OUTPUT_BYTES:
            raise OverflowError
    return [contents[descriptor].decode(errors="replace") for descriptor in descriptors]


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")[:MAX_COMPLAINT_LENGTH]
