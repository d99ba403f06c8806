import copy
from contextlib import nullcontext

from svc.router.workers.shared_rows import SPARE_ROWS, Rows


def rows(size: int = 100) -> Rows:
    return Rows(2, nullcontext(), SPARE_ROWS + size)


def fork(first: Rows) -> Rows:
    """Return the rows as another process has them: the same memory, with what it knows about the names for itself."""
    second = copy.copy(first)
    second._by_name, second._numbers = dict(first._by_name), dict(first._numbers)  # noqa: SLF001
    return second


def test_each_name_has_its_own_row_in_every_process():
    first = rows()
    second = fork(first)
    for number, name in enumerate(("instance a", "line a", "instance b")):
        (first, second)[number % 2].row(name)[0] = number + 1
    assert [second.row(name)[0] for name in ("instance a", "line a", "instance b")] == [1, 2, 3]
    assert first.row("instance b").tolist() == [3, 0]
    assert len(first.all_rows()) == 3


def test_a_free_row_gets_another_name_and_no_process_mixes_them_up():
    first = rows(size=2)
    second = fork(first)
    first.row("instance a")[0] = 5
    second.row("instance b")[0] = 7
    assert first.row("instance b")[0] == 7
    assert first.free("instance a")
    second.forget_names()
    assert second.row("instance c").tolist() == [0, 0], "the memory is full, so this is the row of a"
    second.row("instance c")[1] = 9
    assert first.row("instance c").tolist() == [0, 9]
    assert first.row("instance b")[0] == second.row("instance b")[0] == 7
    assert len(first.all_rows()) == 2


def test_a_row_with_counts_is_not_freed_where_only_zeros_may_be():
    first = rows()
    row = first.row("instance a")
    row[1] = 1
    assert not first.free("instance a", only_zeros=True)
    assert first.row("instance a")[1] == 1
    row[1] = 0
    assert first.free("instance a", only_zeros=True)
    assert first.free("instance a", only_zeros=True), "it is free already"


def test_names_beyond_the_memory_share_one_row_of_their_kind():
    first = rows(size=3)
    names = [f"instance {number}" for number in range(5)]
    for name in (*names, "line m", "line n"):
        first.row(name)[0] += 1
    second = fork(first)
    second.forget_names()
    assert [second.row(name)[0] for name in names] == [1, 1, 1, 2, 2]
    assert second.row("line n").tolist() == [2, 0], "lines and loads are never mixed"


def test_thousands_of_rows_are_found_by_every_process():
    first = rows(size=10_000)
    second = fork(first)
    for number in range(10_000):
        (first, second)[number % 2].row(f"instance {number}")[number % 2] = number
    assert all(sum(second.row(f"instance {number}")) == number for number in range(10_000))
    assert all(sum(first.row(f"instance {number}")) == number for number in range(10_000))
