"""How a process ended: supervisord tells its extensions neither the code nor the signal, so what it reaps is noted.

`Subprocess.finish` knows the wait status and keeps of it what its own messages need: nothing of an exit within
startsecs, and -1 for whatever signal (supervisor 4.3, process.py).
"""

import os
import signal
from typing import Any


class Exits:
    """Reads along what `options.waitpid` of a supervisord gives; an exit is told before the next one is reaped."""

    def __init__(self, options: Any) -> None:
        self._pid: int | None = None
        self._status = 0
        self._reap = options.waitpid
        options.waitpid = self._noted

    def _noted(self) -> tuple[int | None, int]:
        self._pid, self._status = found = self._reap()
        return found

    def words(self, pid: int) -> str:
        """How the process that is just being told as exited ended; empty where that is another."""
        return words(self._status) if pid and pid == self._pid else ""


def words(status: int) -> str:
    """Of a wait status (waitpid(2))."""
    if not os.WIFSIGNALED(status):
        return f"Exited with code {os.waitstatus_to_exitcode(status)}"
    number = os.WTERMSIG(status)
    try:
        return f"Killed by {signal.Signals(number).name}"
    except ValueError:  # a real-time one
        return f"Killed by signal {number}"
