"""Findings about supervisord and processes that outlived an earlier entry."""

import pytest

from svc.doctor.checks import all_checks
from svc.doctor.checks.supervisord import REPLACE
from svc.doctor.facts import Disk, Leftover, SecretFileFacts, SupervisordFacts, Uncollected
from svc.doctor.findings import PROBLEM, WARNING, ordered
from tests.unit.doctor import sample_site
from tests.unit.doctor.sample_site import facts, findings, roots


def test_a_site_where_nothing_runs():
    silent = {"supervisord": SupervisordFacts(last_error="CRIT out of memory"), "listeners": {}, "instance_probes": {}}
    silent |= {
        "registries": [sample_site.registry(health=sample_site.GONE, listing=sample_site.GONE)],
        "router": sample_site.router(health=sample_site.GONE, ready=sample_site.GONE, services=[]),
    }
    assert roots(**silent) == ["supervisord.down"]
    result = findings(**silent)["supervisord.down"]
    assert result.fix == "svc up"
    assert "CRIT out of memory" in result.evidence


@pytest.mark.parametrize(
    ("supervisor", "key", "fix"),
    [
        (
            SupervisordFacts(problem="permission denied", socket_owner="bob"),
            "supervisord.denied",
            "sudo -u bob svc doctor",
        ),
        (SupervisordFacts(problem="it does not answer"), "supervisord.mute", "svc down && svc up"),
        (SupervisordFacts(pid_without_socket=41), "supervisord.lost", "svc down && svc up"),
        (
            sample_site.supervisor(has_extension=False, svc_version="", python="/usr/bin"),
            "supervisord.foreign",
            REPLACE,
        ),
        (sample_site.supervisor(version="4.2.5"), "supervisord.old", "svc down && svc up"),
    ],
)
def test_a_wrong_supervisord_is_found_with_its_cure(supervisor, key, fix):
    result = findings(supervisord=supervisor)
    assert result[key].severity == PROBLEM
    assert result[key].fix == fix


@pytest.mark.parametrize(
    ("is_late", "age_seconds", "severity", "fix"),
    [
        (True, 20.0, WARNING, "svc status --watch"),
        (True, 600.0, PROBLEM, "kill 41 && sleep 5 && svc down && svc up"),
        (True, None, PROBLEM, "kill 41 && sleep 5 && svc down && svc up"),
        (False, 20.0, PROBLEM, "kill 41 && sleep 5 && svc down && svc up"),
    ],
)
def test_a_supervisord_that_has_just_started_is_waited_for(is_late, age_seconds, severity, fix):
    silent = SupervisordFacts(
        problem="it does not answer", pid_without_socket=41, is_late=is_late, age_seconds=age_seconds
    )
    [node] = [n for n in ordered(all_checks.findings(facts(supervisord=silent))) if n.finding.key == "supervisord.mute"]
    assert (node.finding.severity, node.finding.fix) == (severity, fix)
    assert ("wait" in node.finding.first_step) == is_late, "one that is late may only be slow"


def test_what_another_user_cannot_see_is_a_consequence_of_that():
    unseen = {
        "supervisord": SupervisordFacts(problem="permission denied", socket_owner="bob"),
        "disks": [Disk("/site/var", writable=False)],
        "secrets": [SecretFileFacts("t", "token_file", problem="permission denied")],
        "uncollected": [Uncollected("rollout", "permission denied")],
    }
    assert roots(**unseen) == ["supervisord.denied"]


def test_leftovers_beside_a_running_supervisord_are_killed():
    result = findings(leftovers=[Leftover(41, "vllm"), Leftover(42, "vllm")])
    assert result["leftovers"].fix == "kill -9 41 42"


def test_leftovers_are_the_only_root_cause_when_nothing_runs():
    left = {"leftovers": [Leftover(41, "vllm")], "supervisord": SupervisordFacts()}
    [first, *_] = ordered(all_checks.findings(facts(**left)))
    assert first.finding.key == "leftovers"
    assert first.finding.fix == "svc down && svc up"
    assert "supervisord.down" in {f.key for f in first.all()}
