"""Forces restarts of processes under supervisord, and describes how each process ended.

supervisord 4.3 does not report to its extensions how a process ended: `Subprocess.finish` (process.py) gets the wait
status, but stores no exit code for an exit within startsecs, and -1 for any signal.
"""

import contextlib
import dataclasses
import os
import signal
from typing import Any


class ExitStatuses:
    """Records the wait status of the process that supervisord reaped last, by wrapping its `options.waitpid`.

    One status is enough, because supervisord handles an exit before it reaps the next process.
    """

    def __init__(self, options: Any) -> None:
        self._pid: int | None = None
        self._status = 0
        self._waitpid = options.waitpid
        options.waitpid = self._record

    def _record(self) -> tuple[int | None, int]:
        self._pid, self._status = reaped = self._waitpid()
        return reaped

    def describe(self, pid: int) -> str:
        """Return how the process `pid` ended, or an empty text if supervisord reaped a different process last."""
        return describe_status(self._status) if pid and pid == self._pid else ""


def describe_status(status: int) -> str:
    """Return a text on how a process with this wait status (waitpid(2)) ended."""
    if not os.WIFSIGNALED(status):
        return f"Exited with code {os.waitstatus_to_exitcode(status)}"
    number = os.WTERMSIG(status)
    try:
        return f"Killed by {signal.Signals(number).name}"
    except ValueError:  # a real-time signal
        return f"Killed by signal {number}"


@dataclasses.dataclass(frozen=True, slots=True)
class ForcedRestart:
    """A forced restart in progress: the process has received its stop signal, but has not ended yet."""

    reason: str
    kill_at: float  # monotonic seconds


class ForcedRestarts:
    """Ends processes that run but do not work, in a way that looks like a crash to supervisord.

    A process gets its stop signal, and SIGKILL if it has not ended after stopwaitsecs. The caller passes the current
    time.
    """

    def __init__(self) -> None:
        self._by_pid: dict[int, ForcedRestart] = {}

    def begin(self, process: Any, reason: str, now: float) -> None:
        """Send a running process its stop signal, unless a forced restart of this process has begun already."""
        if process.pid not in self._by_pid:
            self._by_pid[process.pid] = ForcedRestart(reason, now + process.config.stopwaitsecs)
            process.signal(process.config.stopsignal)

    def kill_overdue(self, now: float) -> None:
        """Kill the processes that have not ended after stopwaitsecs; `finish` removes their records."""
        for pid, restart in self._by_pid.items():
            if now >= restart.kill_at:
                kill_group(pid)

    def finish(self, pid: int) -> str:
        """Remove the record of a process that has exited; return the reason of its forced restart, or an empty text."""
        restart = self._by_pid.pop(pid, None)
        return restart.reason if restart else ""


def kill_group(pid: int) -> None:
    """Kill a process and the rest of its process group, because its workers hold ports and GPUs."""
    if pid <= 1 or pid == os.getpgrp():
        return
    with contextlib.suppress(ProcessLookupError):  # usually no process is left
        os.killpg(pid, signal.SIGKILL)
