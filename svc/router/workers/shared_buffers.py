"""The memory for request bodies in one of several processes: one limit, and one reserve, for the bodies of all.

Within a process, requests wait for memory in the order of arrival. Between processes they have no order: ten times a
second, the first request of each process tries to get what the others have released.
"""

from svc.router.proxy.body_buffers import Allocation, BodyBuffers
from svc.router.workers.shared_counts import HOLDER, SharedCounts


class SharedBodyBuffers(BodyBuffers):
    """The allocator of one process. The process that may use the reserve is noted in the shared counts."""

    def __init__(self, limit: int, max_body: int, counts: SharedCounts) -> None:
        self._counts = counts
        self._bytes = counts.row("body bytes")
        super().__init__(limit, max_body)

    @property
    def used(self) -> int:
        return sum(self._bytes)

    @used.setter
    def used(self, count: int) -> None:
        """Ignore the value: the base class counts the bytes of this process only."""

    def release(self, allocation: Allocation, size: int) -> None:
        with self._counts.lock:
            self._bytes[self._counts.slot] -= allocation.size - size
            allocation.size = size
            if self.used <= self._shared_bytes:
                self._counts.reserve[HOLDER], self._reserve_holder = 0, None
        self._wake_first()

    def expire(self, now: float) -> None:
        super().expire(now)
        self._wake_first()  # ten times a second: another process may have released memory

    def _take(self, allocation: Allocation, size: int) -> bool:
        reserve, process = self._counts.reserve, self._counts.slot + 1  # slot + 1, as 0 means that no process has it
        with self._counts.lock:
            more = max(0, size - allocation.size)
            if self.used + more > self._shared_bytes:
                holds = reserve[HOLDER] == process and self._reserve_holder is allocation
                if reserve[HOLDER] and not holds:
                    return False
                reserve[HOLDER], self._reserve_holder = process, allocation
            self._bytes[self._counts.slot] += more
            allocation.size += more
            return True
