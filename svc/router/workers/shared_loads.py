"""Loads and turns of all processes, in the shape that the balancer and its policies expect."""

from collections import defaultdict
from collections.abc import Iterator

from svc.router.workers.shared_counts import SharedCounts


class SharedLoads(dict[str, int]):
    """The requests in flight of each instance, summed over all processes. Only `get` reads the shared counts."""

    def __init__(self, counts: SharedCounts) -> None:
        super().__init__()
        self._counts = counts
        self._rows: dict[str, memoryview] = {}

    def get(self, name: str, default: int = 0) -> int:  # type: ignore[override]  # no other default has a meaning here
        return sum(self.row(name))

    def forget_rows(self) -> None:
        """Find each row anew at its next use, as `SharedCounts.forget_names` does."""
        self._rows.clear()

    def row(self, name: str) -> memoryview:
        row = self._rows.get(name)
        if row is None:
            row = self._rows[name] = self._counts.row(f"instance {name}")
        return row


def suspicion(counts: SharedCounts, name: str) -> memoryview:
    """Return the row whose first cell is 1 while an instance has failures or is ejected, so that successes are news.

    The process that sees a failure sets the cell before it reports the failure. With each observation, the control
    process sets or clears it.
    """
    return counts.common(f"suspicion {name}")


class SharedTurns(defaultdict[str, Iterator[int]]):
    """The counters of turns of the pools: the requests of all processes take turns together."""

    def __init__(self, counts: SharedCounts) -> None:
        super().__init__()
        self._counts = counts

    def __missing__(self, key: str) -> Iterator[int]:
        turns = self[key] = SharedTurn(self._counts.row(f"turn {key}"), self._counts.slot)
        return turns


class SharedTurn(Iterator[int]):
    """A counter that ascends with each call in any process. Two calls at the same moment may return the same number."""

    def __init__(self, row: memoryview, slot: int) -> None:
        self._row = row
        self._slot = slot

    def __next__(self) -> int:
        turn = sum(self._row)
        self._row[self._slot] += 1
        return turn
