"""Ends processes that live but are of no use, with the grace that a stop has: it shows as a crash."""

import contextlib
import dataclasses
import os
import signal
from typing import Any


@dataclasses.dataclass(frozen=True, slots=True)
class Ending:
    reason: str
    killed_at: float  # monotonic seconds: how long it may take


class Endings:
    """Those under way, by pid. Times come from the caller."""

    def __init__(self) -> None:
        self._under_way: dict[int, Ending] = {}

    def begin(self, process: Any, reason: str, now: float) -> None:
        """Its stop signal, once; `process` is supervisord's, and lives."""
        if process.pid not in self._under_way:
            self._under_way[process.pid] = Ending(reason, now + process.config.stopwaitsecs)
            process.signal(process.config.stopsignal)

    def kill_overdue(self, now: float) -> None:
        for pid, ending in self._under_way.items():
            if now >= ending.killed_at:
                kill_group(pid)  # it stays in the table until its exit is told

    def over(self, pid: int) -> str:
        """Why the process that has exited was ended; empty where that was not ours."""
        ending = self._under_way.pop(pid, None)
        return ending.reason if ending else ""


def kill_group(pid: int) -> None:
    """Kill a process and its group, or what is left of it: workers hold ports and GPUs."""
    if pid <= 1 or pid == os.getpgrp():
        return
    with contextlib.suppress(ProcessLookupError):  # nothing is left: the usual case
        os.killpg(pid, signal.SIGKILL)
