"""Rings in shared memory: in its own, each process of a router publishes which conversations it has sent where.

Each process writes to its own ring, without a lock. A process that has fallen behind by more than a ring misses what
was overwritten, and one that reads what is just being overwritten learns something wrong: either costs an instance the
computation of a prompt, no more.

gunicorn's master imports this module, so it imports nothing of the router, which a HUP loads anew.
"""

import mmap
from array import array
from collections.abc import Sequence

RECORDS = 1024  # of a ring, which has 512 KB
RECORD_CELLS = 64  # the instance, the number of hashes, and the hashes: those of a conversation of 460 KB
MAX_HASHES = RECORD_CELLS - 2
CELL_BYTES = 8


class PrefixRings:
    """The rings of all processes. Each has the number of its records so far, then the records."""

    def __init__(self, processes: int) -> None:
        self.processes = processes
        self._ring_cells = 1 + RECORDS * RECORD_CELLS
        self._cells = memoryview(mmap.mmap(-1, processes * self._ring_cells * CELL_BYTES)).cast("Q")

    def written(self, slot: int) -> int:
        return self._cells[slot * self._ring_cells]

    def write(self, slot: int, instance: int, hashes: Sequence[int]) -> None:
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
        return slot * self._ring_cells + 1 + number % RECORDS * RECORD_CELLS
