"""The findings that concern what a command waits for."""

from svc.doctor.delay_reasons import concerning
from svc.doctor.findings import PROBLEM, Finding, ordered


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
