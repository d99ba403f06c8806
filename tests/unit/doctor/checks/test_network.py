"""Findings about host names."""

import dataclasses

from svc.doctor.facts import HostName, SiteFiles
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


def test_a_container_registers_with_the_address_of_its_host():
    component = dataclasses.replace(sample_site.COMPONENTS[2], host="10.9.9.9")
    result = findings(
        files=SiteFiles(in_foreground=True),
        components=[*sample_site.COMPONENTS[:2], component],
        host_names={"10.9.9.9": HostName("10.9.9.9", ("10.9.9.9",), is_local=False)},
        registries=[sample_site.registry([sample_site.service("a", 8100, host="10.9.9.9")])],
    )
    assert "host.a" not in result
