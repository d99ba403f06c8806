"""How processes end under supervisord: forced restarts, and the exit status of each process that is reaped.

supervisord tells its extensions neither the exit code nor the signal. `Subprocess.finish` knows the wait status and
keeps only what its own messages need: nothing of an exit within startsecs, and -1 for any signal (supervisor 4.3,
process.py).
"""

import contextlib
import dataclasses
import os
import signal
from typing import Any


class ExitStatuses:
    """Records what `options.waitpid` of a supervisord returns: supervisord handles an exit before it reaps the next."""

    def __init__(self, options: Any) -> None:
        self._pid: int | None = None
        self._status = 0
        self._waitpid = options.waitpid
        options.waitpid = self._record

    def _record(self) -> tuple[int | None, int]:
        self._pid, self._status = reaped = self._waitpid()
        return reaped

    def describe(self, pid: int) -> str:
        """Return how the process that was reaped last ended; empty where `pid` is another process."""
        return describe_status(self._status) if pid and pid == self._pid else ""


def describe_status(status: int) -> str:
    """Return how a process with this wait status (waitpid(2)) ended."""
    if not os.WIFSIGNALED(status):
        return f"Exited with code {os.waitstatus_to_exitcode(status)}"
    number = os.WTERMSIG(status)
    try:
        return f"Killed by {signal.Signals(number).name}"
    except ValueError:  # a real-time signal
        return f"Killed by signal {number}"


@dataclasses.dataclass(frozen=True, slots=True)
class ForcedRestart:
    """A process that was sent its stop signal, although its program was not to stop."""

    reason: str
    kill_at: float  # monotonic seconds


class ForcedRestarts:
    """Ends processes that live but do not work. A process gets the time that a stop allows; its end looks like a crash.

    Times come from the caller.
    """

    def __init__(self) -> None:
        self._by_pid: dict[int, ForcedRestart] = {}

    def begin(self, process: Any, reason: str, now: float) -> None:
        """Send a living process of supervisord its stop signal, unless it has been sent already."""
        if process.pid not in self._by_pid:
            self._by_pid[process.pid] = ForcedRestart(reason, now + process.config.stopwaitsecs)
            process.signal(process.config.stopsignal)

    def kill_overdue(self, now: float) -> None:
        """Kill the processes that have not ended in time; each stays recorded until its exit is reported."""
        for pid, restart in self._by_pid.items():
            if now >= restart.kill_at:
                kill_group(pid)

    def finish(self, pid: int) -> str:
        """Forget a process that has exited; return why it was ended, empty where the exit was not forced."""
        restart = self._by_pid.pop(pid, None)
        return restart.reason if restart else ""


def kill_group(pid: int) -> None:
    """Kill a process and what is left of its process group: its workers hold ports and GPUs."""
    if pid <= 1 or pid == os.getpgrp():
        return
    with contextlib.suppress(ProcessLookupError):  # usually nothing is left
        os.killpg(pid, signal.SIGKILL)
