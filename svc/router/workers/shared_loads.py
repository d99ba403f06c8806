"""Loads, turns and expected work of all processes, as the objects that the balancer and its policies use."""

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator

from svc.router.balance.work import Work
from svc.router.workers.shared_counts import SharedCounts


class NamedRows(dict[str, memoryview]):
    """The rows of one kind, by name. Each is found at its first use, because `SharedCounts` is slower than a dict."""

    def __init__(self, find: Callable[[str], memoryview], kind: str) -> None:
        super().__init__()
        self._find = find
        self._kind = kind

    def __missing__(self, name: str) -> memoryview:
        row = self[name] = self._find(f"{self._kind} {name}")
        return row


class SharedLoads(dict[str, int]):
    """The requests in flight at each instance, or with the kind "tokens" the tokens, summed over all processes.

    Only `get` reads the shared counts.
    """

    def __init__(self, counts: SharedCounts, kind: str = "instance") -> None:
        super().__init__()
        self.rows = NamedRows(counts.row, kind)  # clear it when `SharedCounts.forget_names` is called

    def get(self, name: str, default: int = 0) -> int:  # type: ignore[override]  # no other default has a meaning here
        return sum(self.rows[name])


def suspicions(counts: SharedCounts) -> NamedRows:
    """Return rows whose first cell is 1 while an instance has failures or is ejected: only then, report its successes.

    The process that sees a failure sets the cell before it reports the failure. With each observation, the control
    process sets or clears it.
    """
    return NamedRows(counts.common, "suspicion")


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

    def __copy__(self) -> Iterator[int]:
        """Return a counter that goes on from here without using up turns, as a copy of `itertools.count` does."""
        return itertools.count(sum(self._row))

    def __next__(self) -> int:
        turn = sum(self._row)
        self._row[self._slot] += 1
        return turn


class SharedWork(Work):
    """The expected work of the instances, whose tokens in flight are those of all processes."""

    tokens: SharedLoads

    def __init__(self, counts: SharedCounts, always_tracked: bool) -> None:
        super().__init__(always_tracked)
        self.tokens = SharedLoads(counts, "tokens")
        self._slot = counts.slot

    def add(self, instance: str, tokens: int) -> None:
        self.tokens.rows[instance][self._slot] += tokens
