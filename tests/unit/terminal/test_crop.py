"""What is shown of too much."""

import pytest
from rich.text import Text

from svc.terminal.crop import Block, crop


def block(name: str, style: str = "", lines: int = 1) -> Block:
    return Block([Text(name)] * lines, style)


def shown(height: int | None, *blocks: Block) -> list[str]:
    return [line.plain for line in crop(blocks, height)]


def test_blocks_that_fit_keep_their_order():
    blocks = [block("a"), block("b", "red"), block("c", "yellow")]
    assert shown(3, *blocks) == shown(None, *blocks) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("height", "output"),
    [
        (4, ["ill", "ill", "passing", "… 3 more, all well"]),
        (3, ["ill", "ill", "… 4 more, 1 of them not well"]),
        (2, ["… 5 more, 2 of them not well"]),
        (0, ["… 5 more, 2 of them not well"]),
    ],
)
def test_the_worst_blocks_come_first_and_whole(height, output):
    blocks = [*(block(name) for name in "abc"), block("passing", "yellow"), block("ill", "red", 2)]
    assert shown(height, *blocks) == output


def test_without_healthy_blocks_the_rest_is_counted():
    assert shown(2, *(block(name, "red") for name in "abc")) == ["a", "… 2 more"]
