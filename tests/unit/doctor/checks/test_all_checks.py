"""All checks together."""

import dataclasses

from svc.config.settings_file import load_settings
from svc.doctor.checks import all_checks
from svc.doctor.facts import (
    Facts,
    SiteFiles,
    Uncollected,
)
from svc.doctor.findings import WARNING
from tests.unit.doctor import sample_site
from tests.unit.doctor.sample_site import facts, findings


def test_a_healthy_site_has_no_findings():
    assert findings() == {}
    assert all_checks.healthy_subjects(facts())[0] == "site files"


def test_a_subject_without_facts_is_not_called_healthy():
    nothing = Facts(files=SiteFiles(present=False))
    assert not {"programs", "registry", "babysitters", "instances", "router", "models", "GPUs"} & {
        *all_checks.healthy_subjects(nothing)
    }


def test_facts_that_could_not_be_collected_are_reported():
    [result] = findings(uncollected=[Uncollected("GPUs", "not over in time")]).values()
    assert result.severity == WARNING


def test_the_checks_need_no_settings():
    assert findings(settings=None) == {}
    assert load_settings()


def test_the_cure_of_a_container_does_not_end_it():
    old = dataclasses.replace(sample_site.supervisor(), version="4.2.5")
    assert findings(supervisord=old)["supervisord.old"].fix == "svc down && svc up"
    finding = findings(supervisord=old, files=SiteFiles(in_foreground=True))["supervisord.old"]
    assert (finding.first_step, finding.fix) == ("on the container's host", "docker restart CONTAINER")
