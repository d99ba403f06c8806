"""The part of a terminal that is written again and again in place, and how wide output may be."""

import os
import signal
from collections.abc import Iterable

from rich.console import Group
from rich.live import Live
from rich.text import Text

from svc.terminal.console import Console, one_line

UNLIMITED = 10_000  # columns


def width_of(out: Console) -> int:
    """A terminal's, or as COLUMNS says. What goes elsewhere has none: `grep` wants whole rows."""
    return out.width if out.is_terminal or "COLUMNS" in os.environ else UNLIMITED


class Screen:
    """What is shown takes the place of what was. SIGTERM is as Ctrl-C: the terminal is left in order."""

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
        """Each line takes one of the terminal's, which the caller counts on."""
        if self._out.size != self._size:  # its lines may have been wrapped: how far up they begin, nobody knows
            self._size = self._out.size
            self._out.clear()
        shown = [one_line(line) for line in lines]
        for line in shown:
            line.no_wrap, line.overflow = True, "ellipsis"
        self._live.update(Group(*shown), refresh=True)
