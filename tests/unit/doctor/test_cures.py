"""Every cure that the doctor can print is applied to a real site by a test in tests/e2e/doctor."""

import ast
from collections import Counter

from tests.doctor_cures import ROOT, cures_of, printed_cures

TESTS = ROOT / "tests" / "e2e" / "doctor"


def declared_cures() -> Counter[str]:
    """Return the arguments of all marks `cures` of the tests, with how often they are declared."""
    calls = (node for path in TESTS.glob("test_*.py") for node in ast.walk(ast.parse(path.read_text())))
    marks = (c for c in calls if isinstance(c, ast.Call) and ast.unparse(c.func) == "pytest.mark.cures")
    return Counter(ast.literal_eval(argument) for mark in marks for argument in mark.args)


def test_every_cure_of_every_finding_is_applied_by_a_test():
    assert Counter(printed_cures()) - declared_cures() == Counter()


def test_no_test_declares_a_cure_that_the_doctor_does_not_print():
    assert declared_cures().keys() <= set(printed_cures())


def test_each_command_of_a_finding_is_a_cure():
    source = """
RESTART = "supervisorctl restart registry"
def check(facts):
    path = f"{facts.root}/x"
    yield Finding("a", 1, "", "", fix=RESTART if facts.local else f"svc show {path}")
    yield Finding(f"b.{path}", 1, "", "", fix=command(facts))
    yield Finding("c", 1, "", "")
def command(facts):
    if facts.local:
        return "svc up"
    return f"kill {facts.pid}"
"""
    assert sorted(cures_of(source)) == [
        "a: supervisorctl restart registry",
        "a: svc show *",
        "b.*: kill *",
        "b.*: svc up",
        "c: ",
    ]
