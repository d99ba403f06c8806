"""A report as lines of text that fit a terminal. Pure."""

import textwrap
from collections.abc import Iterator, Sequence

from rich.text import Text

from svc.status import Report, Row

HEAD = ("PROGRAM", "STATE", "PID", "UP", "RESTARTS", "HEALTH", "ADDRESS")
GAP = "  "
LEAST = 8  # columns for the names, however narrow it is


def lines(report: Report, width: int) -> Iterator[Text]:
    """A name that does not fit its column stands on a line of its own; models follow their program."""
    cells = [_cells(row) for row in report.programs]
    widths = [max(len(line[i]) for line in [HEAD, *cells]) for i in range(len(HEAD))]
    rest = sum(widths[1:]) + len(GAP) * (len(HEAD) - 1)
    widths[0] = max(LEAST, min(widths[0], width - rest))
    yield Text(_line(HEAD, widths), style="bold")
    for row, line in zip(report.programs, cells, strict=True):
        style = "" if row.ok else "red"
        if len(line[0]) > widths[0]:
            yield Text(line[0], style=style)
            line = ("", *line[1:])
        yield Text(_line(line, widths), style=style)
        if row.models:
            told = textwrap.wrap(", ".join(row.models), width - 2, initial_indent="  ", subsequent_indent="  ")
            yield from (Text(text, style="dim") for text in told)
    for problem in report.problems:
        yield Text(problem, style="red")


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return GAP.join(f"{cell:{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()


def _cells(row: Row) -> tuple[str, ...]:
    restarts = "" if row.restarts is None else f"{row.restarts}/{_short(row.max_restarts or 0)}"
    pid = str(row.pid) if row.pid else ""
    return (row.name, row.state, pid, duration(row.uptime), restarts, row.health, row.address)


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
