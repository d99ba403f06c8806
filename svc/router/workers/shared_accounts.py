"""The counters of accounts that all processes share. Clients may invent accounts, so the table has a fixed size.

    uses | digest, counter, last use | digest, counter, last use | ...      65,536 entries of 24 bytes

The digest of an account gives a position. The account's entry is one of the PROBES entries from there on. If all of
these are taken, the least recently used one is replaced: its account starts anew, as one that was never seen. Entries
take memory at their first use. Read and change them only under the lock.
"""

import mmap
import random

from xxhash import xxh3_64_intdigest

from svc.router.balance.fair_order import CounterKey, Counters

ENTRIES = 1 << 16
PROBES = 8
MAX_UNITS = 1 << 62
CELL_BYTES, ENTRY_CELLS = 8, 3
USES = 0  # the position of the number of uses in the memory
FIRST_ENTRY = 1
COUNTER, LAST_USE = 1, 2  # positions in an entry, after its digest


class AccountTable:
    """The memory of the counters. Make it before the processes are forked."""

    def __init__(self) -> None:
        size = CELL_BYTES * (FIRST_ENTRY + ENTRY_CELLS * (ENTRIES + PROBES))
        self.cells = memoryview(mmap.mmap(-1, size)).cast("q")
        self._seed = random.getrandbits(64)  # so that no client can find accounts with the same digest

    def find(self, key: CounterKey) -> tuple[int, int]:
        """Return the digest of an account, and the position of its entry; 0 if it has none."""
        group, priority, name = key
        digest = xxh3_64_intdigest(f"{group}\0{priority}\0{name}".encode(errors="replace"), self._seed) >> 1 or 1
        first = FIRST_ENTRY + ENTRY_CELLS * (digest % ENTRIES)
        for position in range(first, first + ENTRY_CELLS * PROBES, ENTRY_CELLS):
            if self.cells[position] == digest:
                return digest, position
        return digest, 0

    def add(self, digest: int) -> int:
        """Return the position of a new entry, in place of an unused one or of the one that was used least recently."""
        first = FIRST_ENTRY + ENTRY_CELLS * (digest % ENTRIES)
        positions = range(first, first + ENTRY_CELLS * PROBES, ENTRY_CELLS)
        position = min(positions, key=lambda position: self.cells[position + LAST_USE])
        self.cells[position] = digest
        return position


class SharedCounters(Counters):
    """The counters as one process uses them. Only `get`, `set` and `value` read or change the table."""

    def __init__(self, table: AccountTable) -> None:
        super().__init__()
        self._table = table

    def get(self, key: CounterKey, default: int | None = None) -> int | None:  # type: ignore[override]
        _, position = self._table.find(key)
        return self._table.cells[position + COUNTER] if position else default

    def set(self, key: CounterKey, units: int) -> None:
        table, (digest, position) = self._table, self._table.find(key)
        position = position or table.add(digest)
        table.cells[USES] += 1
        table.cells[position + COUNTER] = max(-MAX_UNITS, min(MAX_UNITS, units))
        table.cells[position + LAST_USE] = table.cells[USES]
