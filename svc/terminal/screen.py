"""A terminal screen that is repainted in place, and the width of output."""

import os
import signal
from collections.abc import Iterable

from rich.console import Group
from rich.live import Live
from rich.text import Text

from svc.terminal.console import Console, one_line

UNLIMITED_COLUMNS = 10_000


def width_of(out: Console) -> int:
    """Return the width of the terminal, or COLUMNS. A pipe's width is unlimited, because `grep` needs whole rows."""
    return out.width if out.is_terminal or "COLUMNS" in os.environ else UNLIMITED_COLUMNS


class Screen:
    """Shows lines on a terminal in place of the previous ones.

    SIGTERM raises KeyboardInterrupt as Ctrl-C does, so that the terminal is restored.
    """

    def __init__(self, out: Console) -> None:
        self._out = out
        self._live = Live(console=out, auto_refresh=False, vertical_overflow="crop")
        self._size = out.size

    def __enter__(self) -> "Screen":
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    def show(self, lines: Iterable[Text]) -> None:
        """Replace the lines on the screen; long lines are cut, so that each takes exactly one line."""
        if self._out.size != self._size:  # a resize may have wrapped the old lines, so their position is unknown
            self._size = self._out.size
            self._out.clear()
        texts = [one_line(line) for line in lines]
        for line in texts:
            line.no_wrap, line.overflow = True, "ellipsis"
        self._live.update(Group(*texts), refresh=True)
