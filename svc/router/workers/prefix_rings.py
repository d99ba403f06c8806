"""Ring buffers in shared memory, in which a router's processes publish where they send each conversation.

Each process writes to its own ring, without a lock. A process that has fallen behind by more than a ring misses the
records that were overwritten. A process that reads a record while it is overwritten gets a wrong record. In either
case, the worst result is that an instance computes a prompt that another instance has in its cache.

gunicorn's master imports this module, so it imports nothing of the router, which a HUP loads anew.
"""

import mmap
from array import array
from collections.abc import Sequence

RING_RECORDS = 1024  # a ring has 384 KB
RECORD_CELLS = 48  # the instance, the number of hashes, and 46 hashes, which a conversation of 3 MB has
MAX_HASHES = RECORD_CELLS - 2
CELL_BYTES = 8


class PrefixRings:
    """The rings of all processes. In each, the number of records written so far precedes the records."""

    def __init__(self, processes: int) -> None:
        self.processes = processes
        self._ring_cells = 1 + RING_RECORDS * RECORD_CELLS
        self._cells = memoryview(mmap.mmap(-1, processes * self._ring_cells * CELL_BYTES)).cast("Q")

    def written(self, slot: int) -> int:
        """Return how many records a process has written so far, including those that were overwritten."""
        return self._cells[slot * self._ring_cells]

    def write(self, slot: int, instance: int, hashes: Sequence[int]) -> None:
        """Write a record. `instance`: the hash of the name of the instance that is sent the conversation."""
        cells, number = self._cells, self.written(slot)
        record = array("Q", (instance, min(len(hashes), MAX_HASHES), *hashes[:MAX_HASHES]))
        start = self._start(slot, number)
        cells[start : start + len(record)] = memoryview(record)
        cells[slot * self._ring_cells] = number + 1

    def read(self, slot: int, number: int) -> tuple[int, list[int]]:
        """Return the instance and the hashes of a record."""
        start = self._start(slot, number)
        instance, count, *hashes = self._cells[start : start + RECORD_CELLS].tolist()
        return instance, hashes[:count]

    def _start(self, slot: int, number: int) -> int:
        return slot * self._ring_cells + 1 + number % RING_RECORDS * RECORD_CELLS
