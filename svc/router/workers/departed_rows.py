"""Frees the shared rows of instances and models that have left the table, so that they do not fill the memory.

Only the control process frees rows, FREE_AFTER_SECONDS after the name has left the table. By then every process has
used a table without the name, has forgotten the row, and has ended its requests at the instance, which the row counted.
"""

from collections.abc import Iterable

from svc.router.balance.pool import CACHE_KEY_SEPARATOR
from svc.router.balance.target import Target
from svc.router.workers.shared_counts import SharedCounts

FREE_AFTER_SECONDS = 600.0  # ample time for every process to use a new table: gunicorn kills one that hangs for 30 s
SWEEP_INTERVAL_SECONDS = 60.0


class DepartedRows:
    """The names of the rows whose instance or model has left the table, each with the time when it left."""

    def __init__(self, counts: SharedCounts) -> None:
        self._counts = counts
        self._present: set[str] = set()
        self._departed: dict[str, float] = {}
        self._swept = 0.0

    def replace_table(self, targets: tuple[Target, ...], now: float) -> None:
        before, self._present = self._present, row_names(targets)
        self._departed.update(dict.fromkeys(before - self._present, now))
        for name in self._present & self._departed.keys():
            del self._departed[name]

    def sweep(self, now: float) -> None:
        """Free the rows that may be freed, once in SWEEP_INTERVAL_SECONDS."""
        if now - self._swept < SWEEP_INTERVAL_SECONDS:
            return
        self._swept = now
        for name in [name for name, since in self._departed.items() if now - since >= FREE_AFTER_SECONDS]:
            if self._counts.free(name):
                del self._departed[name]


def row_names(targets: Iterable[Target]) -> set[str]:
    """Return the names of all rows that these instances and their models may have."""
    names = set[str]()
    for target in targets:
        names.update(f"{kind} {target.name}" for kind in ("instance", "suspicion", "tokens", "trial"))
        for model in target.models:
            names.update(f"{kind} {model}" for kind in ("line", "rank", "counter", "length", "since", "turn"))
            if target.cache_type:
                names.add(f"turn {model}{CACHE_KEY_SEPARATOR}{target.cache_type}")
    return names
