import pytest

from svc.site.status import Report, Row
from svc.terminal.table import duration, lines


def row(name: str, **more) -> Row:
    fields = {
        "state": "RUNNING",
        "pid": 1234567,
        "uptime": 90061,
        "restarts": 12,
        "max_restarts": 10000,
        "health": "unregistered",
        "models": [],
        "address": "10.100.100.100:18000",
        "ok": True,
    }
    return Row(name, **{**fields, **more})


def text(*rows: Row, width: int = 80, height: int | None = None, problems: list[str] | None = None) -> list[str]:
    return [line.plain for line in lines(Report(True, 1, rows, problems or []), width, height)]


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


def test_what_is_higher_than_the_terminal_begins_with_what_is_wrong():
    rows = [row(f"r{n}", models=["m"]) for n in range(9)] + [row("bad", ok=False, health="expired")]
    told = text(*rows, height=8, problems=["bad: expired"])
    assert [line.split()[0] for line in told] == ["bad:", "PROGRAM", "bad", "r0", "m", "r1", "m", "…"]
    assert told[-1] == "… 7 more, all well"
    assert [line.split()[0] for line in text(*rows, height=21, problems=["bad: expired"])][::20] == ["PROGRAM", "bad:"]


def test_problems_leave_room_for_a_program_and_are_wrapped_between_words():
    told = text(
        row("bad", ok=False), row("a"), width=60, height=6, problems=["the router-of-ours " * 5, "b: x", "c: y"]
    )
    assert len(told) == 6
    assert told[:3] == [
        "the router-of-ours the router-of-ours the router-of-ours the",
        "router-of-ours the router-of-ours",
        "… 2 more",
    ]
    assert told[3].startswith("PROGRAM")


def test_one_that_is_narrow_spares_the_pid_and_then_the_address():
    heads = {width: text(row("quite-a-name:babysitter"), width=width)[0].split() for width in (120, 79, 70, 60)}
    assert "PID" in heads[120]
    assert "PID" not in heads[79]
    assert heads[60] == ["PROGRAM", "STATE", "UP", "RESTARTS", "HEALTH"]
    for width in (100, 70, 60):
        assert max(map(len, text(row("quite-a-name:babysitter", models=["m"] * 40), width=width))) <= width


def test_a_problem_has_the_colour_of_its_program():
    rows = [row("a:server", ok=False, health="drained"), row("b:server", ok=False, health="expired")]
    problems = ["a:server: drained", "b:server: expired", "the registry does not answer at http://x"]
    told = list(lines(Report(False, 1, rows, problems), 80))
    assert [line.style for line in told[-3:]] == ["yellow", "red", "red"]


def test_what_nobody_can_tell_is_no_alarm_of_its_own():
    assert (
        next(iter(list(lines(Report(False, 1, [row("a", ok=False, health="unknown")], []), 80))[1:])).style == "yellow"
    )
