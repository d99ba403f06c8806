"""Another process that holds a lock of the shared counts."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from svc.router.workers.shared_counts import ProcessLock

HOLD_LOCK = """
import fcntl, sys
lock = open(sys.argv[1], "r+b")
fcntl.lockf(lock, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""


@contextmanager
def waiting_process(lock: ProcessLock) -> Iterator["subprocess.Popen[bytes]"]:
    """Start a process that takes the lock, prints a line once it has it, and keeps it until it is killed."""
    path = f"/proc/{os.getpid()}/fd/{lock._descriptor}"  # noqa: SLF001
    command = [sys.executable, "-c", HOLD_LOCK, path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process
        process.kill()


@contextmanager
def holding_process(lock: ProcessLock) -> Iterator["subprocess.Popen[bytes]"]:
    """Start a process that holds the lock until it is killed."""
    with waiting_process(lock) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"locked\n"
        yield process
