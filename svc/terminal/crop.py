"""Crops blocks of lines to a terminal's height: unhealthy blocks first, then the number of omitted blocks. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from rich.text import Text

SEVERITY_RANK = {"red": 0, "yellow": 1}  # 0 is shown first; every other style means healthy and is shown last


class Block(NamedTuple):
    """Lines that are shown or omitted together, and their colour, which shows how healthy their subject is."""

    lines: Sequence[Text]
    style: str


def crop(blocks: Sequence[Block], height: int | None) -> list[Text]:
    """Return all lines in their order if they fit or `height` is None, else those of the least healthy blocks."""
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
