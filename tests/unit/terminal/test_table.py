"""Tables that are too wide or too high for the terminal, and durations in them."""

import pytest
from rich.text import Text

from svc.terminal.table import Block, TableRow, crop, duration, table_blocks


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0, "0s"), (59, "59s"), (60, "1m0s"), (3599, "59m59s"), (3660, "1h1m"), (90061, "1d1h")],
)
def test_a_duration_has_its_two_largest_units(seconds, text):
    assert duration(seconds) == text


HEAD = ("NAME", "STATE", "ADDRESS")
ROW = TableRow(("an-instance-with-a-name", "healthy", "host:8100"), "", ["below"], ["m-1", "m-2"])


def lines(width: int, *optional: str) -> list[str]:
    return [line.plain for block in table_blocks(HEAD, [ROW], width, optional) for line in block.lines]


def test_a_row_is_followed_by_its_lines_and_its_models():
    assert lines(80) == [
        "NAME                     STATE    ADDRESS",
        "an-instance-with-a-name  healthy  host:8100",
        "  below",
        "  m-1, m-2",
    ]


def test_a_name_wider_than_its_column_gets_its_own_line():
    assert lines(35)[:3] == ["NAME             STATE    ADDRESS", ROW.cells[0], "                 healthy  host:8100"]


def test_a_narrow_terminal_loses_the_optional_column():
    assert lines(35, "ADDRESS")[:2] == ["NAME                     STATE", "an-instance-with-a-name  healthy"]


def test_a_terminal_with_room_keeps_the_optional_column():
    assert lines(80, "ADDRESS") == lines(80)


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
