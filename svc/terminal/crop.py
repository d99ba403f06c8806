"""What fits a terminal's height: the worst first, and how much is left out. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from rich.text import Text

WORST = {"red": 0, "yellow": 1}  # the rest is well


class Block(NamedTuple):
    """Lines that stand together, and how their thing is."""

    lines: Sequence[Text]
    style: str


def crop(blocks: Sequence[Block], room: int | None) -> list[Text]:
    """All of them in their order where that fits, or where there is no limit; else those that are worst."""
    if room is None or sum(len(block.lines) for block in blocks) <= room:
        return _flat(blocks)
    ordered = sorted(blocks, key=lambda block: WORST.get(block.style, len(WORST)))
    count = 0
    while len(_flat(ordered[: count + 1])) < room:  # one line is for what is left out
        count += 1
    return [*_flat(ordered[:count]), _rest(ordered[count:])]


def _flat(blocks: Sequence[Block]) -> list[Text]:
    return [line for block in blocks for line in block.lines]


def _rest(blocks: Sequence[Block]) -> Text:
    ill = [block for block in blocks if block.style in WORST]
    told = ", all well" if not ill else "" if len(ill) == len(blocks) else f", {len(ill)} of them not well"
    return Text(f"… {len(blocks)} more{told}", style=ill[0].style if ill else "dim")
