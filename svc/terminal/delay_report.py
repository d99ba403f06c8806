"""While a command waits for something, prints why that is not ready yet."""

import threading
import time
from collections.abc import Callable, Collection, Sequence

DELAY_SECONDS = 15.0

# A function that takes the names of items, and returns lines that say why these items are not ready.
Explain = Callable[[Collection[str]], Sequence[str]]


class DelayReport:
    """Prints the reason once for each item that is not ready after DELAY_SECONDS.

    `explain` runs in a thread, because it may take seconds itself. If it returns no line, it is called again after
    another DELAY_SECONDS. `show` prints one line.
    """

    def __init__(
        self, explain: Explain | None, show: Callable[[str], object], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._explain = explain
        self._show = show
        self._clock = clock
        self._since: dict[str, float] = {}
        self._explained: set[str] = set()
        self._late: Sequence[str] = ()  # the items for which `explain` was last called
        self._next_call = 0.0
        self._thread: threading.Thread | None = None
        self._lines: Sequence[str] = ()

    def update(self, items: Collection[str]) -> None:
        """Set the items that are not ready, and print the reasons found so far; call this in each round of the wait."""
        now = self._clock()
        self._since = {item: self._since.get(item, now) for item in items}
        if self._thread is not None:
            self._print_result(items, now)
            return
        late = [item for item, since in self._since.items() if now - since >= DELAY_SECONDS]
        if self._explain and set(late) - self._explained and now >= self._next_call:
            self._explained |= set(late)
            self._late = late
            self._lines = ()
            self._thread = threading.Thread(
                target=self._run, args=(self._explain, late), name="delay reason", daemon=True
            )
            self._thread.start()

    def _run(self, explain: Explain, late: Sequence[str]) -> None:
        try:
            self._lines = explain(late)
        except Exception as error:  # noqa: BLE001 - the wait goes on without the reason
            self._lines = [f"the reason cannot be found out: {error}"]

    def _print_result(self, items: Collection[str], now: float) -> None:
        if self._thread is None or self._thread.is_alive():
            return
        self._thread = None
        if not self._lines:
            self._explained -= set(self._late)
            self._next_call = now + DELAY_SECONDS
        if items and self._lines:
            self._show(f"not ready after {DELAY_SECONDS:g} s: {', '.join(sorted(self._explained & set(items)))}")
            for line in self._lines:
                self._show(f"  {line}")
