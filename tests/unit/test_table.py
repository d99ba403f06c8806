import pytest

from svc.status import Report, Row
from svc.table import duration, lines


def row(name: str, **more) -> Row:
    fields = {"state": "RUNNING", "pid": 1234567, "uptime": 90061, "restarts": 12, "max_restarts": 10000,
              "health": "unregistered", "models": [], "address": "10.100.100.100:18000", "ok": True}  # fmt: skip
    return Row(name, **{**fields, **more})


def text(*rows: Row, width: int = 80) -> list[str]:
    return [line.plain for line in lines(Report(True, 1, rows, []), width)]


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(None, ""), (0, "0s"), (59, "59s"), (60, "1m0s"), (3599, "59m59s"), (3660, "1h1m"), (90061, "1d1h")],
)
def test_a_duration_has_its_two_largest_units(seconds, told):
    assert duration(seconds) == told


def test_the_widest_cells_fit_80_columns():
    told = text(row("a" * 128 + ":babysitter"), row("b:server", models=["model-" + str(n) for n in range(40)]))
    assert max(len(line) for line in told if "a" * 20 not in line) <= 80
    assert "a" * 128 + ":babysitter" in told, "a name that is too long has a line of its own"


def test_columns_stand_under_their_heads():
    head, first, second = text(row("a:server"), row("bb:server", state="FATAL", pid=None, uptime=None))
    for title, cell in (("STATE", "RUNNING"), ("RESTARTS", "12/10k"), ("ADDRESS", "10.100")):
        assert head.index(title) == first.index(cell)
    assert second.index("FATAL") == head.index("STATE")


def test_problems_stand_at_the_end():
    assert [line.plain for line in lines(Report(False, 1, [row("a")], ["a: bad"]), 80)][-1] == "a: bad"
