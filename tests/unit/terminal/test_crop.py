"""What is shown of too much."""

import pytest
from rich.text import Text

from svc.terminal.crop import Block, crop


def block(name: str, style: str = "", lines: int = 1) -> Block:
    return Block([Text(name)] * lines, style)


def shown(room: int | None, *blocks: Block) -> list[str]:
    return [line.plain for line in crop(blocks, room)]


def test_what_fits_keeps_its_order():
    blocks = [block("a"), block("b", "red"), block("c", "yellow")]
    assert shown(3, *blocks) == shown(None, *blocks) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("room", "told"),
    [
        (4, ["ill", "ill", "passing", "… 3 more, all well"]),
        (3, ["ill", "ill", "… 4 more, 1 of them not well"]),
        (2, ["… 5 more, 2 of them not well"]),
        (0, ["… 5 more, 2 of them not well"]),
    ],
)
def test_the_worst_is_first_and_nothing_is_cut_in_two(room, told):
    blocks = [*(block(name) for name in "abc"), block("passing", "yellow"), block("ill", "red", 2)]
    assert shown(room, *blocks) == told


def test_of_none_that_is_well_it_says_how_many():
    assert shown(2, *(block(name, "red") for name in "abc")) == ["a", "… 2 more"]
