"""Formats tables as lines of text that fit the width and the height of a terminal. Pure."""

import textwrap
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.text import Text

COLUMN_GAP = "  "
MIN_COLUMNS = 8  # the minimum width of the column of names
NARROW_COLUMNS = 80  # on a narrower terminal, columns are dropped before a long name gets its own line
SEVERITY_RANK = {"red": 0, "yellow": 1}  # 0 is shown first; every other style means healthy and is shown last


class Block(NamedTuple):
    """Lines that are shown or omitted together. `style` is the colour for the health of what the lines describe."""

    lines: Sequence[Text]
    style: str


class TableRow(NamedTuple):
    """A row of a table: its cells, and the lines below them. The first cell is the name."""

    cells: Sequence[str]
    style: str
    below: Sequence[str]
    models: Sequence[str]


def table_blocks(
    head: Sequence[str], rows: Sequence[TableRow], width: int, optional: Sequence[str] = ()
) -> list[Block]:
    """Return a block for the head and for each row; drop `optional` columns in their order until the rest fits.

    A name that does not fit its column has a line of its own. The models of a row are on lines below it.
    """
    for title in optional:
        if _fits(head, rows, width):
            break
        at = head.index(title)
        head = _without_cell(head, at)
        rows = [row._replace(cells=_without_cell(row.cells, at)) for row in rows]
    widths = _widths(head, rows)
    widths[0] = max(MIN_COLUMNS, min(widths[0], width - _width_without_names(widths)))
    return [
        Block([Text(_aligned(head, widths), style="bold")], ""),
        *(Block(list(_row_lines(row, widths, width)), row.style) for row in rows),
    ]


def _fits(head: Sequence[str], rows: Sequence[TableRow], width: int) -> bool:
    widths = _widths(head, rows)
    return _width_without_names(widths) + (MIN_COLUMNS if width >= NARROW_COLUMNS else widths[0]) <= width


def _widths(head: Sequence[str], rows: Sequence[TableRow]) -> list[int]:
    return [max(len(line[i]) for line in [head, *(row.cells for row in rows)]) for i in range(len(head))]


def _width_without_names(widths: Sequence[int]) -> int:
    """Return the width of all columns except the names."""
    return sum(widths[1:]) + len(COLUMN_GAP) * (len(widths) - 1)


def _without_cell(cells: Sequence[str], at: int) -> Sequence[str]:
    return (*cells[:at], *cells[at + 1 :])


def _row_lines(row: TableRow, widths: Sequence[int], width: int) -> Iterator[Text]:
    cells = row.cells
    if len(cells[0]) > widths[0]:
        yield Text(cells[0], style=row.style)
        cells = ("", *cells[1:])
    yield Text(_aligned(cells, widths), style=row.style)
    yield from (Text(f"  {text}", style=row.style) for text in row.below)
    yield from (Text(f"  {text}", style="dim") for text in wrapped(", ".join(row.models), width - len(COLUMN_GAP)))


def wrapped(text: str, width: int) -> list[str]:
    """Return the lines of a text that is wrapped between words; a name with a hyphen is one word."""
    return textwrap.wrap(text, max(width, MIN_COLUMNS), break_on_hyphens=False)


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    return COLUMN_GAP.join(f"{cell:{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()


def crop(blocks: Sequence[Block], height: int | None) -> list[Text]:
    """Return all lines in their order if they fit or `height` is None, else the lines of the least healthy blocks."""
    if height is None or sum(len(block.lines) for block in blocks) <= height:
        return _lines_of(blocks)
    ordered = sorted(blocks, key=lambda block: SEVERITY_RANK.get(block.style, len(SEVERITY_RANK)))
    count = 0
    while len(_lines_of(ordered[: count + 1])) < height:  # one line is for the number of omitted blocks
        count += 1
    return [*_lines_of(ordered[:count]), _omitted_line(ordered[count:])]


def _lines_of(blocks: Sequence[Block]) -> list[Text]:
    return [line for block in blocks for line in block.lines]


def _omitted_line(blocks: Sequence[Block]) -> Text:
    unhealthy = [block for block in blocks if block.style in SEVERITY_RANK]
    health = (
        ", all well"
        if not unhealthy
        else ""
        if len(unhealthy) == len(blocks)
        else f", {len(unhealthy)} of them not well"
    )
    return Text(f"… {len(blocks)} more{health}", style=unhealthy[0].style if unhealthy else "dim")


def aligned_lines(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield each row as one line, with every column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return (_aligned(row, widths) for row in rows)


def duration(seconds: int | None) -> str:
    """Return a duration in its two largest units; empty for None."""
    if seconds is None:
        return ""
    for size, unit, smaller, smaller_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if seconds >= size:
            return f"{seconds // size}{unit}{seconds % size // smaller}{smaller_unit}"
    return f"{seconds}s"
