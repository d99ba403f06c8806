"""Ends a process that was stopped while it held the lock of the shared counts.

The kernel releases the lock of a process that ends, but not of one that SIGSTOP or a debugger has stopped. Every other
process of the group that needs the lock would wait for it, and gunicorn would kill all of these after its timeout.
"""

import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from svc.base import procfs
from svc.router.workers.shared_counts import ProcessLock

log = logging.getLogger(__name__)
STOPPED_SECONDS = 5.0  # others wait this long for a stopped process, because it may be continued
RETRY_INTERVAL_SECONDS = 0.01


class LockWatch:
    """Watches the lock for gunicorn's master, which calls `check` at least once a second."""

    def __init__(self, lock: ProcessLock, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock = lock
        self._clock = clock
        self._pid = 0  # the stopped process that holds the lock
        self._since = 0.0  # when that process was first found stopped

    def check(self) -> None:
        """Kill the process that holds the lock if it has been stopped for STOPPED_SECONDS."""
        pid, now = self._lock.holder(), self._clock()
        if not pid or not _is_stopped(pid):
            self._pid = 0
        elif pid != self._pid:
            self._pid, self._since = pid, now
        elif now - self._since >= STOPPED_SECONDS:
            log.error("process %d is killed: it holds the lock of the shared counts, and has been stopped", pid)
            os.kill(pid, signal.SIGKILL)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock. The wait for it is bounded, because `check` ends a process that would not release it."""
        while not self._lock.try_acquire():
            self.check()
            time.sleep(RETRY_INTERVAL_SECONDS)
        try:
            yield
        finally:
            self._lock.release()


def _is_stopped(pid: int) -> bool:
    try:
        return procfs.stat(pid).is_stopped
    except OSError:  # the process has ended meanwhile
        return False
