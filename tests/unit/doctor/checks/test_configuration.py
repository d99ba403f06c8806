"""Findings about the site's files and its rollouts."""

import dataclasses

from svc.doctor.checks import all_checks
from svc.doctor.facts import (
    Facts,
    SiteFiles,
    UnfinishedRollout,
)
from svc.doctor.findings import PROBLEM, WARNING
from tests.unit.doctor import sample_site
from tests.unit.doctor.sample_site import findings, roots


def test_an_interrupted_rollout_explains_what_it_has_stopped():
    drained = sample_site.service("a", 8100, drained=True, is_healthy=False)
    more = {
        "rollout": UnfinishedRollout("apply", drained=["a-server"]),
        "registries": [sample_site.registry([drained, sample_site.service("b", 8110)])],
    }
    assert roots(**more) == ["rollout"]
    assert findings(**more)["rollout"].fix == "svc apply"
    assert "a rollout has drained it" in findings(**more)["instance.a-server"].evidence


def test_a_rollout_at_work_is_a_warning():
    result = findings(rollout=UnfinishedRollout("apply", at_work="`svc apply` (pid 9, since 03:00:00)"))["rollout"]
    assert result.severity == WARNING
    assert "pid 9" in result.evidence


def test_a_directory_that_is_no_site():
    assert [f.key for f in all_checks.findings(Facts(files=SiteFiles(present=False)))] == ["files.none"]


def test_each_error_of_the_files_is_a_finding():
    result = findings(files=SiteFiles(errors=["config/a.toml: port: missing", "config/b.toml: x: unknown key"]))
    assert [f.summary for f in result.values()] == ["config/a.toml: port: missing", "config/b.toml: x: unknown key"]
    assert all(f.severity == PROBLEM and f.fix == "svc up" for f in result.values())


def test_stale_files_and_pending_changes():
    result = findings(files=SiteFiles(stale=["conf.d/a.conf: changed"]), pending_changes=["b: changed (command)"])
    assert {key: f.severity for key, f in result.items()} == {"files.stale": WARNING, "files.pending": WARNING}
    assert "conf.d/a.conf" in result["files.stale"].evidence


def test_a_babysitter_that_has_not_read_its_file():
    result = findings(
        digests={"a": "new", "b": "same"},
        instance_probes={
            "a": sample_site.sidecar("a", config="old"),
            "b": sample_site.sidecar("b", config="same"),
        },
    )
    assert "config/a.toml" in result["files.pending"].evidence
    assert "config/b.toml" not in result["files.pending"].evidence


def test_a_site_that_runs_from_var():
    assert findings(files=SiteFiles(runs_from_var=True))["files.own"].severity == WARNING


def test_a_container_runs_from_var_as_a_rule():
    container = SiteFiles(runs_from_var=True, in_foreground=True)
    assert findings(files=container) == {}
    stale = dataclasses.replace(container, stale=["var/conf.d/a.conf: changed"])
    assert findings(files=stale)["files.stale"].summary.startswith("var/conf.d/ is not what config/ says")
