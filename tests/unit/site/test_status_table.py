"""The table of `svc status`, on terminals of any size."""

from svc.site.status import ProgramStatus, SiteStatus
from svc.site.status_table import status_lines


def row(name: str, **more) -> ProgramStatus:
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
    return ProgramStatus(name, **{**fields, **more})


def text(
    *rows: ProgramStatus, width: int = 80, height: int | None = None, problems: list[str] | None = None
) -> list[str]:
    return [line.plain for line in status_lines(SiteStatus(True, 1, rows, problems or []), width, height)]


def test_the_widest_cells_fit_80_columns():
    output = text(row("a" * 128 + ":babysitter"), row("b:server", models=["model-" + str(n) for n in range(40)]))
    assert max(len(line) for line in output if "a" * 20 not in line) <= 80
    assert "a" * 128 + ":babysitter" in output, "a name that is too long has a line of its own"


def test_columns_are_aligned_with_their_heads():
    head, first, second = text(row("a:server"), row("bb:server", state="FATAL", pid=None, uptime=None))
    for title, cell in (("STATE", "RUNNING"), ("RESTARTS", "12/10k"), ("ADDRESS", "10.100")):
        assert head.index(title) == first.index(cell)
    assert second.index("FATAL") == head.index("STATE")


def test_problems_come_last():
    assert [line.plain for line in status_lines(SiteStatus(False, 1, [row("a")], ["a: bad"]), 80)][-1] == "a: bad"


def test_a_table_too_high_for_the_terminal_begins_with_problems():
    rows = [row(f"r{n}", models=["m"]) for n in range(9)] + [row("bad", ok=False, health="expired")]
    output = text(*rows, height=8, problems=["bad: expired"])
    assert [line.split()[0] for line in output] == ["bad:", "PROGRAM", "bad", "r0", "m", "r1", "m", "…"]
    assert output[-1] == "… 7 more, all well"
    assert [line.split()[0] for line in text(*rows, height=21, problems=["bad: expired"])][::20] == ["PROGRAM", "bad:"]


def test_problems_leave_room_for_a_program_and_are_wrapped():
    output = text(
        row("bad", ok=False), row("a"), width=60, height=6, problems=["the router-of-ours " * 5, "b: x", "c: y"]
    )
    assert len(output) == 6
    assert output[:3] == [
        "the router-of-ours the router-of-ours the router-of-ours the",
        "router-of-ours the router-of-ours",
        "… 2 more",
    ]
    assert output[3].startswith("PROGRAM")


def test_a_narrow_table_drops_the_pid_and_then_the_address():
    heads = {width: text(row("quite-a-name:babysitter"), width=width)[0].split() for width in (120, 79, 70, 60)}
    assert "PID" in heads[120]
    assert "PID" not in heads[79]
    assert heads[60] == ["PROGRAM", "STATE", "UP", "RESTARTS", "HEALTH"]
    for width in (100, 70, 60):
        assert max(map(len, text(row("quite-a-name:babysitter", models=["m"] * 40), width=width))) <= width


def test_a_problem_has_the_colour_of_its_program():
    rows = [row("a:server", ok=False, health="drained"), row("b:server", ok=False, health="expired")]
    problems = ["a:server: drained", "b:server: expired", "the registry does not answer at http://x"]
    output = list(status_lines(SiteStatus(False, 1, rows, problems), 80))
    assert [line.style for line in output[-3:]] == ["yellow", "red", "red"]


def test_unknown_health_is_no_failure():
    assert (
        next(iter(list(status_lines(SiteStatus(False, 1, [row("a", ok=False, health="unknown")], []), 80))[1:])).style
        == "yellow"
    )
