"""The counts that all processes of a router share: requests in flight, limits, and which requests wait for an instance.

The memory is mapped by gunicorn's master before it forks, so every process sees the same cells:

                         slot 0      slot 1     slot 2     one slot for each process; slot 0 is the control process
    "instance a"           0           3          4        a row of counts: its sum is the instance's load
    "instance b"           0           0          1
    "waiting"              0           2          0
    ...
    common "queue"         8 bytes     8 bytes             a pair of values that belong to no process

A process writes only its own slot, so counting needs no lock: a load is the sum of a row (0.2 us). The lock is taken
where a sum decides, that is near a limit, and where a request begins or ceases to wait. It is a record lock of the
kernel (fcntl), which costs 3 us, and which the kernel releases when a process that holds it is killed (`lock_watch.py`
is for one that is stopped). When a process has ended, the master clears its slot, and no count of it remains.

Each process also has an eventfd, by which the others wake it: a request that waits there may now have its turn.
"""

import fcntl
import os
import struct
import time
from collections.abc import Callable, Iterable
from types import TracebackType

from svc.router.proxy.user_rows import UserRows
from svc.router.workers.prefix_rings import PrefixRings
from svc.router.workers.shared_accounts import AccountTable
from svc.router.workers.shared_rows import Rows

CONTROL_SLOT = 0  # the slot of the control process
COMMON_CELLS = 2  # number of cells in a common row
TOTAL, LAST_TICKET = 0, 1  # the cells of the common row "queue"
HOLDER = 0  # the cell of the common row "reserve"
FLOCK = struct.Struct("hhqqi")  # `struct flock` of the kernel: type, whence, start, length, pid
GRACE_SECONDS = 0.05  # a refusal waits this long: another process may have answered a request, but not counted that yet
GRACE_INTERVAL_SECONDS = 0.005


class SharedCounts:
    """The shared memory of one group of processes. `slot` is the slot of the running process."""

    def __init__(self, processes: int) -> None:
        self.processes = processes
        self.slot = 0
        self.lock = ProcessLock()
        self._counts = Rows(processes, self.lock)
        self._common = Rows(COMMON_CELLS, self.lock)
        self.waiting = self.row("waiting")  # requests that wait for an instance
        self.queue = self.common("queue")  # the total of `waiting`, and the last ticket
        self.reserve = self.common("reserve")  # the process (slot + 1) with the request that may use the reserve
        self.prefix_rings = PrefixRings(processes)
        self.users = UserRows(processes, self.lock, becomes_true)
        self.accounts = AccountTable()
        self._wakeups = [os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC) for _ in range(processes)]

    def row(self, name: str) -> memoryview:
        """Return the counts with this name: one integer for each process."""
        return self._counts.row(name)

    def common(self, name: str) -> memoryview:
        """Return the two integers with this name that belong to all processes. Change them only under the lock."""
        return self._common.row(name)

    def forget_names(self) -> None:
        """Find each row anew at its next use. Call this when names may have left the table (see `departed_rows.py`)."""
        self._counts.forget_names()
        self._common.forget_names()

    def free(self, name: str) -> bool:
        """Free the row and the common values of this name; do nothing and return False if a count is not zero."""
        return self._common.free(name) and self._counts.free(name, only_zeros=not name.startswith("turn "))

    def clear(self, slot: int) -> None:
        """Set all counts of a process that has ended to zero, and wake all processes: places may have become free."""
        with self.lock:
            for row in self._counts.all_rows():
                row[slot] = 0
            self.users.clear(slot)
            self.queue[TOTAL] = sum(self.waiting)
            if self.reserve[HOLDER] == slot + 1:
                self.reserve[HOLDER] = 0
        self.wake(range(self.processes))

    def wakeup(self) -> int:
        """Return the descriptor that becomes readable when another process wakes this one."""
        return self._wakeups[self.slot]

    def wake(self, slots: Iterable[int]) -> None:
        """Wake these processes. Several wake-ups that a process has not noticed yet are one."""
        for slot in slots:
            os.eventfd_write(self._wakeups[slot], 1)

    def close(self) -> None:
        """Close the descriptors of this process."""
        for descriptor in self._wakeups:
            os.close(descriptor)
        self.lock.close()


class ProcessLock:
    """A reentrant lock between processes.

    It does not exclude the greenlets of one process from each other. So a greenlet must not wait while it holds the
    lock: another greenlet would run as if it held the lock, too.
    """

    def __init__(self) -> None:
        self._descriptor = os.memfd_create("svc-router-lock", os.MFD_CLOEXEC)
        self._depth = 0

    def __enter__(self) -> None:
        if not self._depth:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX)
        self._depth += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()

    def try_acquire(self) -> bool:
        """Acquire the lock if no other process holds it; return whether this process holds it now."""
        if not self._depth:
            try:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        self._depth += 1
        return True

    def release(self) -> None:
        self._depth -= 1
        if not self._depth:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN)

    def holder(self) -> int:
        """Return the pid of the other process that holds the lock; 0 if none does."""
        whole_file = (os.SEEK_SET, 0, 0)
        kind, _, _, _, pid = FLOCK.unpack(
            fcntl.fcntl(self._descriptor, fcntl.F_GETLK, FLOCK.pack(fcntl.F_WRLCK, *whole_file, 0))
        )
        return 0 if kind == fcntl.F_UNLCK else int(pid)

    def close(self) -> None:
        os.close(self._descriptor)


def count_below(row: memoryview, slot: int, limit: int) -> bool:
    """Count one more in the cell of this process, without the lock, if the sum is well below the limit.

    Otherwise, count nothing and return False: the caller has to decide under the lock. The distance to the limit is one
    for each process, because each may count once before it sees the counts of the others. The sum is read again after
    the count, because this process may have been suspended before it counted.
    """
    safe_limit = limit - len(row)
    if sum(row) >= safe_limit:
        return False
    row[slot] += 1
    if sum(row) <= safe_limit:
        return True
    row[slot] -= 1
    return False


def becomes_true(condition: Callable[[], bool]) -> bool:
    """Return whether a condition on shared counts is true, or becomes true within GRACE_SECONDS.

    A process sends the end of a response before it counts the request as ended. A client that sends its next request to
    another process at once must not be refused for that.
    """
    deadline = time.monotonic() + GRACE_SECONDS
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(GRACE_INTERVAL_SECONDS)
    return True
