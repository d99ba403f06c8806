"""Tables as lines of text that fit a terminal: that of programs, and others. Pure."""

import textwrap
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.text import Text

from svc.state import WARNING, level_of
from svc.status import Report, Row

HEAD = ("PROGRAM", "STATE", "PID", "UP", "RESTARTS", "HEALTH", "ADDRESS")
GAP = "  "
PASSING = ("RUNNING", "STARTING", "STOPPED")  # supervisord's
LEAST = 8  # columns for the names, however narrow it is


class Line(NamedTuple):
    """One thing: its cells, the name first, and what stands below them."""

    cells: Sequence[str]
    style: str
    below: Sequence[str]
    models: Sequence[str]


def lines(report: Report, width: int) -> Iterator[Text]:
    """The programs, and what is wrong."""
    rows = [Line(_cells(row), _style(row), _below(row, width), row.models) for row in report.programs]
    yield from grid(HEAD, rows, width)
    for problem in report.problems:
        yield Text(problem, style="red")


def grid(head: Sequence[str], rows: Sequence[Line], width: int) -> Iterator[Text]:
    """A name that does not fit its column stands on a line of its own; models follow what has them."""
    widths = [max(len(line[i]) for line in [head, *(row.cells for row in rows)]) for i in range(len(head))]
    rest = sum(widths[1:]) + len(GAP) * (len(head) - 1)
    widths[0] = max(LEAST, min(widths[0], width - rest))
    yield Text(_line(head, widths), style="bold")
    for row in rows:
        cells = row.cells
        if len(cells[0]) > widths[0]:
            yield Text(cells[0], style=row.style)
            cells = ("", *cells[1:])
        yield Text(_line(cells, widths), style=row.style)
        yield from (Text(f"  {text}", style=row.style) for text in row.below)
        if row.models:
            told = textwrap.wrap(", ".join(row.models), width - 2, initial_indent="  ", subsequent_indent="  ")
            yield from (Text(text, style="dim") for text in told)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return GAP.join(f"{cell:{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()


def _style(row: Row) -> str:
    """What will pass, or somebody wanted, is no alarm."""
    passing = row.state in PASSING and level_of(row.health) == WARNING
    return "" if row.ok else "yellow" if passing else "red"


def _cells(row: Row) -> tuple[str, ...]:
    restarts = "" if row.restarts is None else f"{row.restarts}/{_short(row.max_restarts or 0)}"
    pid = str(row.pid) if row.pid else ""
    return (row.name, row.state, pid, duration(row.uptime), restarts, row.health, row.address)


def _below(row: Row, width: int) -> Sequence[str]:
    return textwrap.wrap(f"last restart: {row.reason}", width - len(GAP)) if row.reason else ()


def _short(number: int) -> str:
    """1000000 as 1M: a limit that nobody reaches."""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= size and number % size == 0:
            return f"{number // size}{unit}"
    return str(number)


def duration(seconds: int | None) -> str:
    """The two largest units."""
    if seconds is None:
        return ""
    for size, unit, smaller, smaller_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if seconds >= size:
            return f"{seconds // size}{unit}{seconds % size // smaller}{smaller_unit}"
    return f"{seconds}s"
