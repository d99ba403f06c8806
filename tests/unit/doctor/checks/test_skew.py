"""Findings about versions and clocks."""

import dataclasses

import pytest

from svc.doctor.facts import PackageProblem
from svc.doctor.findings import PROBLEM, WARNING
from tests.unit.doctor import sample_site
from tests.unit.doctor.sample_site import findings


def test_running_code_is_older_than_the_installed_code():
    result = findings(svc_version="2+y")["version.old"]
    assert result.severity == WARNING
    assert "supervisord" in result.summary
    assert result.fix == "svc down && svc up"


def test_only_one_program_is_older():
    old = dataclasses.replace(sample_site.sidecar("a"), health=dataclasses.replace(sample_site.answer(), version="0+w"))
    result = findings(instance_probes={"a": old, "b": sample_site.sidecar("b")})["version.old"]
    assert result.fix == "supervisorctl restart a:babysitter"


def test_a_remote_registry_of_another_version_and_missing_packages():
    other = dataclasses.replace(
        sample_site.registry(), is_local=False, health=dataclasses.replace(sample_site.registry().health, version="2+z")
    )
    result = findings(registries=[other], package_problems=[PackageProblem("gevent is missing", "gevent<27")])
    assert result["version.http://127.0.0.1:18000"].severity == WARNING
    assert result["version.packages"].severity == PROBLEM
    assert result["version.packages"].fix == "pip install 'gevent<27'"


@pytest.mark.parametrize(("ahead", "word"), [(7.0, "7 s ahead of"), (-90.0, "90 s behind"), (1.9, "")])
def test_a_clock_that_differs_is_found(ahead, word):
    health = dataclasses.replace(sample_site.registry().health, clock_ahead=ahead)
    result = [f.summary for f in findings(registries=[sample_site.registry(health=health)]).values()]
    assert bool(result) == bool(word)
    assert all(word in what for what in result)
