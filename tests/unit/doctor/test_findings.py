"""Causes come before their consequences, in whatever order they were findings."""

import dataclasses

from svc.doctor.findings import PROBLEM, WARNING, WATCH, Finding, ordered


def finding(key: str, severity: str = PROBLEM, *causes: str) -> Finding:
    return Finding(key, severity, key, "seen", causes=causes)


def shape(nodes) -> list:
    return [(node.finding.key, shape(node.consequences)) if node.consequences else node.finding.key for node in nodes]


def test_a_consequence_is_below_its_cause_only():
    findings = [finding("model.m", PROBLEM, "program.a"), finding("program.a"), finding("x")]
    assert shape(ordered(findings)) == [("program.a", ["model.m"]), "x"]


def test_the_likeliest_cause_among_the_findings_is_chosen():
    findings = [finding("a"), finding("b"), finding("c", PROBLEM, "none", "b", "a")]
    assert shape(ordered(findings)) == ["a", ("b", ["c"])]


def test_a_star_matches_every_key_with_that_beginning():
    findings = [finding("registry.silent"), finding("r", PROBLEM, "registry.*")]
    assert shape(ordered(findings)) == [("registry.silent", ["r"])]


def test_chains_of_causes_are_kept_and_cycles_are_cut():
    findings = [finding("a", PROBLEM, "c"), finding("b", PROBLEM, "a"), finding("c", PROBLEM, "b")]
    assert shape(ordered(findings)) == [("c", [("a", ["b"])])] or len(ordered(findings)) == 1
    assert sum(1 for node in ordered(findings) for _ in node.all()) == 3
    assert shape(ordered([finding("self", PROBLEM, "self", "s*")])) == ["self"]


def test_problems_come_before_warnings_in_the_given_order():
    findings = [finding("w1", WARNING), finding("p1"), finding("w2", WARNING), finding("p2", PROBLEM, "w2")]
    assert shape(ordered(findings)) == ["p1", ("w2", ["p2"]), "w1"]
    assert [node.severity for node in ordered(findings)] == [PROBLEM, PROBLEM, WARNING]


def test_a_finding_is_reported_once():
    assert shape(ordered([finding("a"), finding("a"), finding("b")])) == ["a", "b"]


def test_what_comes_of_a_program_that_was_just_started_is_a_warning_with_the_cure_to_wait():
    starting = dataclasses.replace(finding("router.silent"), fix="supervisorctl restart router", may_pass=True)
    [node] = ordered([starting, finding("model.m", PROBLEM, "router.silent")])
    assert [(each.severity, each.fix) for each in node.all()] == [(WARNING, WATCH)] * 2


def test_a_starting_program_hides_no_problem_that_causes_it():
    missing = dataclasses.replace(finding("instance.a", PROBLEM, "program.a"), may_pass=True)
    [node] = ordered([missing, finding("program.a")])
    assert node.severity == PROBLEM
    assert node.finding.key == "program.a"
