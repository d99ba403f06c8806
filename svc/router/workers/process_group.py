"""The processes that gunicorn's master forks for one router: the control process, and those that relay.

A group has its own shared counts and its own listener. The processes that a HUP starts are a new group, whose counts
begin at zero, as those of a single process do. The old group finishes its requests with the old counts.
"""

import itertools
from typing import TYPE_CHECKING

from svc.router.workers.channel_listener import ChannelListener
from svc.router.workers.lock_watch import LockWatch
from svc.router.workers.shared_counts import SharedCounts

if TYPE_CHECKING:
    from gunicorn.workers.base import Worker


class ProcessGroup:
    """The slots of a group's processes. The master assigns them before each fork, and frees them after each end."""

    def __init__(self, relaying: int) -> None:
        self.counts = SharedCounts(relaying + 1)
        self.listener = ChannelListener()
        self.lock_watch = LockWatch(self.counts.lock)
        self._taken: dict[int, int] = {}  # slot -> the number (`age`) that gunicorn has given the process

    @property
    def in_use(self) -> bool:
        return bool(self._taken)

    @property
    def missing(self) -> int:
        """The number of processes that have ended, or have not been forked yet."""
        return self.counts.processes - len(self._taken)

    def assign(self, worker: "Worker") -> int:
        """Return the slot for a process that is about to be forked: the lowest free one."""
        slot = next(slot for slot in itertools.count() if slot not in self._taken)
        self._taken[slot] = worker.age
        return slot

    def free(self, worker: "Worker") -> None:
        """Clear the counts of a process that has ended, if it is one of this group."""
        for slot, age in list(self._taken.items()):
            if age == worker.age:
                del self._taken[slot]
                with self.lock_watch.locked():
                    self.counts.clear(slot)

    def close(self) -> None:
        """Close the group in the master, once its last process has ended."""
        self.counts.close()
        self.listener.close()
