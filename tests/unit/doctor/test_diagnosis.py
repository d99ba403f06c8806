"""What people and programs read."""

import json

from svc.doctor.diagnosis import as_json, command_text, lines, summary
from svc.doctor.findings import PROBLEM, WARNING, Finding, ordered

ROOT = Finding("p", PROBLEM, "it broke", "it said so", fix="svc up", first_step="correct it")
CHILD = Finding("c", WARNING, "this too", "seen", fix="svc status", causes=("p",))


def test_commands_are_written_as_they_are_called_here():
    for fix, expected in {
        "svc down && svc up": "./svc down && ./svc up",
        "kill 7 && sleep 2 && supervisorctl start a:server": "kill 7 && sleep 2 && ctl start a:server",
        "sudo -u bob svc doctor": "sudo -u bob ./svc doctor",
        "curl http://svc /svc": "curl http://svc /svc",
    }.items():
        assert command_text(fix, "./svc", "ctl") == expected


def test_a_cause_is_shown_with_its_cure_and_consequences():
    texts = [line.plain for line in lines(ordered([ROOT, CHILD]), ["disks"])]
    assert texts == [
        "problem  it broke",
        "         why  it said so",
        "         fix  correct it: svc up",
        "         └ warning: this too",
        "ok       disks",
    ]


def test_each_line_of_a_cure_has_a_row():
    finding = Finding("p", PROBLEM, "it broke", "it said so", fix="svc up", first_step="write:\n[a]\nthen")
    assert [line.plain for line in lines(ordered([finding]), [])][2:] == [
        "         fix  write:",
        "         [a]",
        "         then: svc up",
    ]


def test_many_consequences_are_counted():
    many = [Finding(f"c{n}", PROBLEM, f"c{n}", "seen", causes=("p",)) for n in range(10)]
    assert [line.plain for line in lines(ordered([ROOT, *many]), [])][-1].strip() == "and 4 more things that come of it"


def test_the_summary_counts_problems_and_warnings():
    assert summary([]) == "all is well"
    assert summary(ordered([CHILD])) == "1 warning"
    assert summary(ordered([ROOT, CHILD])) == "1 problem, 1 warning, from 1 cause"
    two = [ROOT, Finding("q", PROBLEM, "q", "seen")]
    assert summary(ordered(two)) == "2 problems; begin at the top"


def test_the_json_has_every_field():
    document = json.loads(json.dumps(as_json(ordered([ROOT, CHILD]), ["disks"], "./svc")))
    assert (document["ok"], document["problems"], document["warnings"], document["well"]) == (False, 1, 1, ["disks"])
    [cause] = document["findings"]
    assert cause["fix"] == "./svc up"
    assert [one["key"] for one in cause["consequences"]] == ["c"]
    assert as_json(ordered([CHILD]), [])["ok"]


def test_commands_in_hints_are_those_that_the_user_can_call():
    hint = Finding("h", PROBLEM, "h", "run `svc services expire`", fix="svc up", first_step="on it: `svc doctor`; then")
    shown = [line.plain.strip() for line in lines(ordered([hint]), [], ".venv/bin/svc", ".venv/bin/supervisorctl")]
    assert shown[1:] == [
        "why  run `.venv/bin/svc services expire`",
        "fix  on it: `.venv/bin/svc doctor`; then: .venv/bin/svc up",
    ]
