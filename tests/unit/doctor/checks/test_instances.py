"""Findings about instances in the registry's list."""

import dataclasses

from svc.doctor.findings import PROBLEM, WARNING
from tests.unit.doctor.sample_site import (
    COMPONENTS,
    NOW,
    answer,
    facts,
    findings,
    registry,
    roots,
    routed,
    router,
    service,
    sidecar,
    states,
)

CONTROL = "http://control:18000"


def test_a_drained_instance_whose_models_others_serve_is_a_warning():
    result = findings(registries=[registry([service("a", 8100, drained=True, is_healthy=False), service("b", 8110)])])
    assert [(f.key, f.severity, f.fix) for f in result.values()] == [
        ("instance.a-server", WARNING, "svc undrain a-server")
    ]


def test_the_last_drained_instance_is_the_root_cause_of_a_lost_model():
    drained = [service("a", 8100, ("x",), drained=True, is_healthy=False), service("b", 8110)]
    more = {
        "registries": [registry(drained)],
        "router": router([routed("a", 8100, ("x",), healthy=False), routed("b", 8110)]),
    }
    assert roots(**more) == ["instance.a-server"]
    assert findings(**more)["instance.a-server"].severity == PROBLEM
    assert "503" in findings(**more)["model.x"].summary


def test_an_expired_lease_of_another_host():
    gone = service("c", 8100, is_healthy=False, host="10.0.0.7", hostname="gpu7", last_heartbeat=NOW - 300)
    result = findings(registries=[registry([service("a", 8100), service("b", 8110), gone])])["instance.c-server"]
    assert "expired" in result.summary
    assert "300 s ago" in result.evidence
    assert "gpu7" in result.first_step


def test_a_healthy_instance_that_the_registry_cannot_reach():
    cut = service("a", 8100, is_healthy=False, health_status="unhealthy")
    checks = {"a-server": answer({"health_status": "unhealthy"})}
    entry = registry([cut, service("b", 8110)], checks=checks)
    result = findings(registries=[entry])["instance.a-server"]
    assert "the registry cannot reach it at http://localhost:8101/health" in result.summary
    healed = dataclasses.replace(entry, checks={"a-server": answer({"health_status": "healthy"})})
    assert findings(registries=[healed])["instance.a-server"].severity == WARNING


def test_another_instance_of_the_same_name():
    result = findings(registries=[registry([service("a", 8100, host="10.0.0.9", hostname="gpu9"), service("b", 8110)])])
    assert "10.0.0.9:8100 on gpu9" in result["owner.a"].summary


def test_a_loopback_address_in_a_remote_registry_s_list():
    away = registry([service("a", 8100), service("b", 8110), service("c", 8100)], url=CONTROL, is_local=False)
    assert "loopback.c-server" in findings(registries=[away])


def test_an_instance_that_is_not_registered():
    result = findings(registries=[registry([service("a", 8100)])])
    assert result["instance.b-server"].severity == PROBLEM


def test_a_site_whose_instances_are_all_asleep_is_in_order():
    asleep = {"status": "asleep", "is_healthy": False}
    on_demand = tuple(dataclasses.replace(c, on_demand=c.kind == "babysitter") for c in COMPONENTS)
    more = {
        "components": on_demand,
        "supervisord": states(a_server="STOPPED"),  # the engine of b sleeps, and its process runs
        "instance_probes": {
            "a": sidecar("a", state="asleep"),
            "b": sidecar("b", state="asleep", not_ready="it sleeps"),
        },
        "listeners": {port: holder for port, holder in facts().listeners.items() if port != 8100},
        "registries": [registry([service("a", 8100, ("m",), **asleep), service("b", 8110, ("n",), **asleep)])],
        "router": router(
            [
                routed("a", 8100, ("m",), healthy=False, status="asleep"),
                routed("b", 8110, ("n",), healthy=False, status="asleep"),
            ]
        ),
    }
    assert findings(**more) == {}
    keyed = router(services=None)
    assert findings(**{**more, "router": dataclasses.replace(keyed, services=answer({}, 401))}, model="n") == {}


def test_a_drained_instance_that_is_asleep_serves_no_model():
    drained = service("a", 8100, ("x",), status="asleep", is_healthy=False, drained=True)
    entry = routed("a", 8100, ("x",), healthy=False, status="asleep", drained=True)
    more = {
        "registries": [registry([drained, service("b", 8110)])],
        "router": router([entry, routed("b", 8110)]),
    }
    assert roots(**more) == ["instance.a-server"]
    assert "model.x" in findings(**more)
