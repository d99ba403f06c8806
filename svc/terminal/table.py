"""Tables as lines of text that fit a terminal: that of programs, and others. Pure."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from rich.text import Text

from svc.protocol.health_state import WARNING, level_of
from svc.site.status import UNKNOWN, Report, Row
from svc.terminal.crop import Block, crop

HEAD = ("PROGRAM", "STATE", "PID", "UP", "RESTARTS", "HEALTH", "ADDRESS")
SPARED = ("PID", "ADDRESS")  # where it is narrow, in this order
GAP = "  "
PASSING = ("RUNNING", "STARTING", "STOPPING", "STOPPED")  # supervisord's
LEAST = 8  # columns for the names, however narrow it is
NARROW = 80  # columns; in so many a long name may have a line of its own, in fewer a column is spared before that
LEFT = 3  # lines for programs, however many problems there are: the head, one of them, and how many more


class Line(NamedTuple):
    """One thing: its cells, the name first, and what stands below them."""

    cells: Sequence[str]
    style: str
    below: Sequence[str]
    models: Sequence[str]


def lines(report: Report, width: int, height: int | None = None) -> Iterator[Text]:
    """The programs, and what is wrong; where `height` is not enough, first what is wrong, then the worst."""
    rows = [Line(_cells(row), _style(row), _below(row, width), row.models) for row in report.programs]
    head, *blocks = grid(HEAD, rows, width, SPARED)
    styles = {row.name: _style(row) for row in report.programs}
    problems = [_problem(problem, styles, None if height is None else width) for problem in report.problems]
    if height is None or sum(len(block.lines) for block in (head, *blocks, *problems)) <= height:
        yield from crop([head, *blocks, *problems], None)
        return
    wrong = crop(problems, height - LEFT)
    yield from wrong
    yield from head.lines
    yield from crop(blocks, height - len(wrong) - 1)


def grid(head: Sequence[str], rows: Sequence[Line], width: int, spared: Sequence[str] = ()) -> list[Block]:
    """The head, and each row; `spared` columns are left out, one after the other, where it is too narrow.

    A name that does not fit its column stands on a line of its own; models follow what has them.
    """
    for title in spared:
        if _fits(head, rows, width):
            break
        at = head.index(title)
        head = _without(head, at)
        rows = [row._replace(cells=_without(row.cells, at)) for row in rows]
    widths = _widths(head, rows)
    widths[0] = max(LEAST, min(widths[0], width - _rest(widths)))
    return [
        Block([Text(_line(head, widths), style="bold")], ""),
        *(Block(list(_lines(row, widths, width)), row.style) for row in rows),
    ]


def _fits(head: Sequence[str], rows: Sequence[Line], width: int) -> bool:
    widths = _widths(head, rows)
    return _rest(widths) + (LEAST if width >= NARROW else widths[0]) <= width


def _widths(head: Sequence[str], rows: Sequence[Line]) -> list[int]:
    return [max(len(line[i]) for line in [head, *(row.cells for row in rows)]) for i in range(len(head))]


def _rest(widths: Sequence[int]) -> int:
    """What the names leave."""
    return sum(widths[1:]) + len(GAP) * (len(widths) - 1)


def _without(cells: Sequence[str], at: int) -> Sequence[str]:
    return (*cells[:at], *cells[at + 1 :])


def _lines(row: Line, widths: Sequence[int], width: int) -> Iterator[Text]:
    cells = row.cells
    if len(cells[0]) > widths[0]:
        yield Text(cells[0], style=row.style)
        cells = ("", *cells[1:])
    yield Text(_line(cells, widths), style=row.style)
    yield from (Text(f"  {text}", style=row.style) for text in row.below)
    yield from (Text(f"  {text}", style="dim") for text in wrapped(", ".join(row.models), width - len(GAP)))


def wrapped(text: str, width: int) -> list[str]:
    """Between words: a name with a hyphen is one."""
    return textwrap.wrap(text, max(width, LEAST), break_on_hyphens=False)


def _problem(problem: str, styles: Mapping[str, str], width: int | None) -> Block:
    """In the colour of the program that it names, if it does."""
    style = styles.get(problem.partition(": ")[0], "red")
    return Block([Text(line, style=style) for line in ([problem] if width is None else wrapped(problem, width))], style)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return GAP.join(f"{cell:{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()


def _style(row: Row) -> str:
    """What will pass, or somebody wanted, is no alarm; nor is what nobody can tell, for which another is to blame."""
    passing = row.state in PASSING and (level_of(row.health) == WARNING or row.health == UNKNOWN)
    return "" if row.ok else "yellow" if passing else "red"


def _cells(row: Row) -> tuple[str, ...]:
    restarts = "" if row.restarts is None else f"{row.restarts}/{_short(row.max_restarts or 0)}"
    pid = str(row.pid) if row.pid else ""
    return (row.name, row.state, pid, duration(row.uptime), restarts, row.health, row.address)


def _below(row: Row, width: int) -> Sequence[str]:
    return wrapped(f"last restart: {row.reason}", width - len(GAP)) if row.reason else ()


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
