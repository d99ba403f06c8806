"""Findings about registries."""

import pytest

from svc.doctor.findings import PROBLEM, WARNING
from tests.unit.doctor import sample_site
from tests.unit.doctor.sample_site import (
    GONE,
    NOW,
    answer,
    findings,
    registry,
    roots,
    router,
    sidecar,
    states,
)

CONTROL = "http://control:18000"


def test_a_registry_that_is_down_explains_the_rest():
    more = {
        "supervisord": states(registry="STOPPED"),
        "registries": [registry(health=GONE, listing=GONE)],
        "instance_probes": {"a": sidecar("a", registered=False), "b": sidecar("b", last_heartbeat=NOW - 500)},
        "router": router(health=answer({"router": "running", "table_source": "saved", "table_age_seconds": 99})),
    }
    assert roots(**more) == ["program.registry"]
    assert {"registry.silent", "babysitter.a", "babysitter.b", "router.table"} <= findings(**more).keys()
    assert "500 s ago" in findings(**more)["babysitter.b"].summary


def test_a_remote_registry_that_does_not_answer():
    away = registry(url=CONTROL, is_local=False, health=GONE, listing=GONE)
    result = findings(registries=[away])["registry.silent"]
    assert "control" in result.first_step
    assert result.fix == f"curl -sS -m 5 {CONTROL}/health"


def test_one_of_two_registries_that_does_not_answer_is_a_warning():
    result = findings(registries=[registry(), registry(url=CONTROL, is_local=False, health=GONE, listing=GONE)])
    assert [(f.key, f.severity) for f in result.values()] == [(f"registry.mute.{CONTROL}", WARNING)]


def test_another_server_at_the_registry_s_address():
    assert "registry.other.http://127.0.0.1:18000" in findings(registries=[registry(health=answer(None, 404))])


@pytest.mark.parametrize(
    ("status", "reason", "severity", "fix"),
    [
        ("degraded", "5 of 6 kept; end their leases with `svc services expire`", WARNING, "svc services expire"),
        ("failing", "the disk is full", PROBLEM, "curl -sS http://127.0.0.1:18000/health"),
    ],
)
def test_a_registry_that_reports_itself_unhealthy(status, reason, severity, fix):
    health = answer({"registry": "running", "status": status, "reason": reason})
    [result] = findings(registries=[registry(health=health)]).values()
    assert (result.severity, result.evidence, result.fix) == (severity, reason, fix)


def test_write_tokens_that_are_missing_or_wrong():
    configs = {"a": sample_site.config("a", 8100, token_file="t"), "b": sample_site.config("b", 8110)}
    writes = {"t": answer({}, 401), "": answer({}, 401)}
    result = findings(registries=[registry(writes=writes)], configs=configs)
    assert "does not take the token in t" in result["registry.write.t"].summary
    assert "b has none" in result["registry.write."].summary
    assert "config/b.toml" in result["registry.write."].first_step


def test_a_registry_that_refuses_to_list_its_services():
    assert findings(registries=[registry(listing=answer({}, 401))])["registry.read"].severity == PROBLEM


def test_the_setting_for_a_read_token_is_the_router_s_if_there_is_one():
    result = findings(registries=[registry(listing=answer({}, 401))])
    assert "registry_token_file under [router]" in result["registry.read"].first_step
