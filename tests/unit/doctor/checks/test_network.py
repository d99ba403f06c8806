"""Findings about host names."""

import dataclasses

from svc.doctor.facts import (
    HostName,
)
from tests.unit.doctor import sample_site
from tests.unit.doctor.sample_site import findings


def test_unknown_names_and_hosts_of_other_machines():
    component = dataclasses.replace(sample_site.COMPONENTS[2], host="10.9.9.9")
    components = [*sample_site.COMPONENTS[:2], component]
    there = HostName("10.9.9.9", ("10.9.9.9",), is_local=False)
    result = findings(
        components=components,
        host_names={"10.9.9.9": there},
        registries=[sample_site.registry([sample_site.service("a", 8100, host="10.9.9.9")])],
    )
    assert "host.a" in result
    away = dataclasses.replace(sample_site.registry(), url="http://control:18000", is_local=False)
    assert "dns.control" in findings(
        registries=[away], host_names={"control": HostName("control", (), False, "not known")}
    )
