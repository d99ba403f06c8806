"""The findings that concern what a command waits for."""

import dataclasses

import pytest

from svc.doctor.checks import all_checks
from svc.doctor.delay_reasons import concerning
from svc.doctor.findings import PROBLEM, Finding, ordered
from tests.unit.doctor.sample_site import GONE, facts, process, registry, router, sidecar, states


def keys(findings, *names):
    return [node.finding.key for node in concerning(ordered(findings), names)]


def finding(key, *causes):
    return Finding(key, PROBLEM, key, "", causes=causes)


def test_only_causes_with_a_finding_about_the_names_are_kept():
    disk, server = finding("disk.logs"), finding("program.qwen:server", "disk.logs")
    others = [finding("router.open"), finding("instance.qwen2-server"), finding("port.8100")]
    assert keys([disk, server, *others], "qwen") == ["disk.logs"]
    assert keys([finding("instance.qwen-server"), *others], "qwen") == ["instance.qwen-server"]
    assert keys(others, "router") == ["router.open"]
    assert keys(others, "qwen") == []


def test_a_rollout_is_no_reason_for_its_own_wait():
    stopped = finding("program.qwen:server", "rollout")
    assert keys([finding("rollout"), stopped], "qwen") == ["program.qwen:server"]


@pytest.mark.parametrize(("age", "is_reason"), [(20, False), (500, True)])
def test_a_program_that_has_just_been_started_is_no_reason(age, is_reason):
    silent = dataclasses.replace(sidecar("a"), info=GONE, health=GONE, models=GONE)
    processes = {name: process(name, age=age) for name in ("registry", "router", "a:server", "a:babysitter")}
    site = facts(
        supervisord=states(**processes),
        registries=[registry([], health=GONE, listing=GONE)],
        router=dataclasses.replace(router(), health=GONE, ready=GONE, services=GONE),
        instance_probes={"a": silent, "b": sidecar("b")},
    )
    found = keys(all_checks.findings(site), "registry", "router", "a")
    assert bool(found) == is_reason


def test_a_program_in_the_state_starting_is_no_reason():
    site = facts(supervisord=states(a_server="STARTING", a_babysitter="STARTING"), registries=[registry([])])
    assert keys(all_checks.findings(site), "a") == []
    assert keys(all_checks.findings(facts(registries=[registry([])])), "a") == ["instance.a-server"]
