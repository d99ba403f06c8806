"""The counts of users behind API keys with limits, in memory of a fixed size that processes may share.

Fronts may name any number of users, so a user has a row only as long as there is something to count. A user has one of
the rows of a set, which a hash of the name selects. A user without a row takes a free one, else the row that was used
least recently and has no requests in flight: the user that had it starts again with full buckets. If all rows of the
set have requests in flight, the user shares one of them.

    for each set: 16 digests of names (0: free)
    for each row: time of the last use | version of the limits | 3 buckets of 2 cells | requests in flight by process

gunicorn's master imports this module, so it imports nothing of the router, which a HUP loads anew.
"""

import mmap
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from hashlib import blake2b

SETS = 1 << 13
ROWS_PER_SET = 16  # with 100,000 users, two per cent find no free row
ROWS = SETS * ROWS_PER_SET
CELL_BYTES = 8
LAST_USE, VERSION, BUCKETS = 0, 1, 2  # positions in a row
BUCKET_CELLS = 2
MAX_BUCKETS = 3
IN_FLIGHT = BUCKETS + MAX_BUCKETS * BUCKET_CELLS
IN_USE = 0  # the cell before all sets: whether any row was ever used


def is_true(condition: Callable[[], bool]) -> bool:
    return condition()


class UserRows:
    """The rows. Call everything but `bucket` under `lock`. `slot`: the place of this process among all.

    `becomes_true` waits for a condition on the counts of other processes, because counts may be a moment late.
    """

    def __init__(
        self,
        processes: int,
        lock: AbstractContextManager[object],
        becomes_true: Callable[[Callable[[], bool]], bool] = is_true,
    ) -> None:
        self.lock = lock
        self.becomes_true = becomes_true
        self.slot = 0
        self._width = IN_FLIGHT + processes
        self._seed = os.urandom(16)  # so that no client can choose names that share a set
        memory = memoryview(mmap.mmap(-1, CELL_BYTES * (1 + ROWS * (1 + self._width))))
        self._counts, self._numbers = memory.cast("q"), memory.cast("d")

    def find(self, name: str, now: float) -> int:
        """Return the number of the row of this user. Another user may have had the row before."""
        digest = int.from_bytes(blake2b(name.encode(), digest_size=8, key=self._seed).digest(), "big", signed=True) or 1
        first = digest % SETS * ROWS_PER_SET
        digests = self._counts[1 + first : 1 + first + ROWS_PER_SET].tolist()
        if digest in digests:
            row = first + digests.index(digest)
        elif 0 in digests:
            row = first + digests.index(0)
            self._counts[1 + row] = digest
            self._counts[IN_USE] = 1
        else:
            row = self._take_over(first, digest)
        self._numbers[self._start(row)] = now
        return row

    def note_version(self, row: int, version: int) -> bool:
        """Store the version of the limits for which the row counts; return whether the version has changed."""
        cell = self._start(row) + VERSION
        before, self._counts[cell] = self._counts[cell], version
        return before not in (0, version)

    def bucket(self, row: int, number: int) -> "memoryview[float]":
        """Return the two cells of a bucket."""
        start = self._start(row) + BUCKETS + number * BUCKET_CELLS
        return self._numbers[start : start + BUCKET_CELLS]

    def in_flight(self, row: int) -> int:
        """Return the requests in flight, of all processes."""
        start = self._start(row)
        return sum(self._counts[start + IN_FLIGHT : start + self._width])

    def count(self, row: int, change: int) -> None:
        """Add to the requests in flight of this process."""
        self._counts[self._start(row) + IN_FLIGHT + self.slot] += change

    def clear(self, slot: int) -> None:
        """Set the requests in flight of a process that has ended to zero."""
        if self._counts[IN_USE]:
            for cell in range(self._start(0) + IN_FLIGHT + slot, len(self._counts), self._width):
                if self._counts[cell]:
                    self._counts[cell] = 0

    def _start(self, row: int) -> int:
        return 1 + ROWS + row * self._width

    def _take_over(self, first: int, digest: int) -> int:
        """Return the row of the set that was used least recently, emptied if it has no requests in flight."""
        rows = sorted(range(first, first + ROWS_PER_SET), key=lambda row: self._numbers[self._start(row)])
        idle = next((row for row in rows if not self.in_flight(row)), None)
        if idle is None:
            return rows[0]
        self._counts[1 + idle] = digest
        start = self._start(idle)
        for cell in range(start, start + IN_FLIGHT):
            self._counts[cell] = 0
        return idle
