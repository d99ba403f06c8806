"""The processes of a router with several of them."""

import os
import re
import signal

from tests.integration.router.routers import Router
from tests.waiting import wait_until

CONTROL = re.compile(r"this is the control process \(pid (\d+)\)")


def control_process(own: Router) -> int:
    """Return the pid of the control process, the newest one that has started."""
    return int(CONTROL.findall(own.output())[-1])


def relaying_processes(own: Router) -> list[int]:
    """Return the pids of the processes that relay."""
    return sorted(set(own.processes()) - {control_process(own)})


def kill(own: Router, pid: int) -> None:
    """Kill a process of the router, and wait until gunicorn has started another one in its place."""
    before = set(relaying_processes(own)) | {control_process(own)}
    os.kill(pid, signal.SIGKILL)

    def is_replaced() -> bool:
        now = set(relaying_processes(own)) | {control_process(own)}
        return pid not in now and len(now) == len(before)

    wait_until(is_replaced, description="another process")
