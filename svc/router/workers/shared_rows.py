"""Rows of integers in memory that the processes of a router share. Each row has a name, and is made at its first use.

    number of rows | changes | digest of each row's name (0: the row is free) | cells of each row

`changes` counts how often the digest of an existing row was changed, because its row was freed or got another name. A
name's kind is its first word: "instance a" is of the kind "instance".
"""

import mmap
from contextlib import AbstractContextManager
from hashlib import blake2b

# Each instance and each model has a few rows. Only rows that exist take memory: 40 bytes each, with four processes.
MAX_ROWS = 1 << 18
SPARE_ROWS = 16  # of MAX_ROWS, kept for names that get no row of their own: all such names of a kind share one
CELL_BYTES = 8
COUNT, CHANGES, DIGESTS = 0, 1, 2  # positions in the memory
FREE = 0  # the digest of a free row


class Rows:
    """The rows as one process uses them. `lock` is a reentrant lock between processes."""

    def __init__(self, width: int, lock: AbstractContextManager[object], size: int = MAX_ROWS) -> None:
        self._width, self._size = width, size
        self._lock = lock
        self._cells = memoryview(mmap.mmap(-1, CELL_BYTES * (DIGESTS + size * (1 + width)))).cast("q")
        self._by_name: dict[str, memoryview] = {}  # the rows that this process has used
        self._numbers: dict[int, int] = {}  # digest -> number of its row, for the first `_indexed` rows
        self._indexed = self._changes = 0

    def row(self, name: str) -> memoryview:
        row = self._by_name.get(name)
        if row is None:
            with self._lock:
                row = self._by_name[name] = self._row(self._number_or_shared(name))
        return row

    def all_rows(self) -> list[memoryview]:
        return [self._row(number) for number in range(self._cells[COUNT])]

    def free(self, name: str, only_zeros: bool = False) -> bool:
        """Free the row with this name, if there is one; with `only_zeros` do nothing and return False if it has counts.

        Call this only once all processes have forgotten the row (see `forget_names`): another name may get it.
        """
        with self._lock:
            number = self._find(_digest(name))
            if number is None:
                return True
            row = self._row(number)
            if only_zeros and any(row):
                return False
            self._cells[CHANGES] += 1  # changed first, because the process may be killed in between
            self._cells[DIGESTS + number] = FREE
            for cell in range(self._width):
                row[cell] = 0
        self._by_name.pop(name, None)
        return True

    def forget_names(self) -> None:
        """Forget where the rows are, so that each is found anew at its next use: rows of unused names may be freed."""
        self._by_name.clear()

    def _row(self, number: int) -> memoryview:
        start = DIGESTS + self._size + number * self._width
        return self._cells[start : start + self._width]

    # The methods below are called under the lock.

    def _number_or_shared(self, name: str) -> int:
        number = self._number(name, self._size - SPARE_ROWS)
        if number is None:
            number = self._number(f"others of {name.partition(' ')[0]}", self._size)
        return self._size - 1 if number is None else number

    def _number(self, name: str, limit: int) -> int | None:
        """Return the number of the row with this name. If there is none, make one below `limit`, or return None."""
        digest = _digest(name)
        number = self._find(digest)
        if number is None and (number := self._unused(limit)) is not None:
            is_new = number == self._cells[COUNT]
            self._cells[CHANGES] += not is_new
            self._cells[DIGESTS + number] = digest
            self._cells[COUNT] += is_new
        return number

    def _find(self, digest: int) -> int | None:
        """Return the number of the row with this digest, from an index: a search would take a millisecond."""
        cells, numbers = self._cells, self._numbers
        if self._changes != cells[CHANGES]:
            self._changes, self._indexed = cells[CHANGES], 0
            numbers.clear()
        if self._indexed != cells[COUNT]:
            digests = cells[DIGESTS + self._indexed : DIGESTS + cells[COUNT]].tolist()
            numbers.update(zip(digests, range(self._indexed, cells[COUNT]), strict=True))
            self._indexed = cells[COUNT]
        return numbers.get(digest)

    def _unused(self, limit: int) -> int | None:
        """Return the number, below `limit`, of a new row or else of a free one; None if there is neither."""
        if self._cells[COUNT] < limit:
            return int(self._cells[COUNT])
        digests = self._cells[DIGESTS : DIGESTS + limit].tolist()
        return digests.index(FREE) if FREE in digests else None


def _digest(name: str) -> int:
    return int.from_bytes(blake2b(name.encode(errors="replace"), digest_size=8).digest(), "big", signed=True) or 1
