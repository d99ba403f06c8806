"""Findings about failing instances, and about requests that kill instances."""

from typing import Any

from svc.doctor.checks import failed_requests
from svc.doctor.checks.failed_requests import RECENT_SECONDS
from svc.doctor.collect.http_probes import poisonings
from svc.doctor.facts import Facts, Poisoning
from svc.doctor.findings import PROBLEM, WARNING
from svc.supervision.client import Restarts
from tests.unit.doctor.sample_site import (
    GONE,
    NOW,
    answer,
    findings,
    process,
    registry,
    roots,
    routed,
    router,
    supervisor,
)

MESSAGE = "it died while it served request r-1 of key team, and so did b-server"
KILLED = [Poisoning(NOW - 60, "b-server", MESSAGE), Poisoning(NOW - 60, "a-server", MESSAGE)]


def test_a_failing_instance_that_gets_requests_is_a_problem():
    result = findings(router=router([routed("a", 8100, failing=True), routed("b", 8110)]))["failing.a-server"]
    assert result.severity == PROBLEM
    assert "500" in result.summary
    assert result.fix == "supervisorctl restart a:server"
    assert "logs/server_a.log" in result.first_step


def test_a_failing_instance_that_is_ejected_is_one_warning():
    entry = routed("a", 8100, healthy=False, ejected=True, failing=True)
    sick: dict[str, Any] = {"router": router([entry, routed("b", 8110)])}
    assert findings(**sick)["failing.a-server"].severity == WARNING
    assert roots(**sick) == ["failing.a-server"]


def test_a_failing_instance_is_found_behind_a_router_with_keys():
    text = 'svc_router_instance_up{instance="a-server"} 1.0\nsvc_router_instance_failing{instance="a-server"} 1.0\n'
    keyed = router(services=[], metrics=answer({}, text=text))
    assert "failing.a-server" in findings(router=keyed)


def test_a_failing_instance_on_another_machine_is_restarted_from_here():
    far = router([routed("a", 8100), routed("b", 8110), routed("far", 8100, failing=True)])
    result = findings(router=far)["failing.far-server"]
    assert "on its machine" in result.first_step


def test_a_request_that_killed_instances_is_reported_with_its_id_and_key():
    result = findings(registries=[registry(poisonings=KILLED)])["poisoned"]
    assert result.severity == WARNING
    assert "a-server, b-server died" in result.summary
    assert result.evidence == f"a-server, 60 s ago: {MESSAGE}"
    assert result.fix == "svc events --kind poisoned"
    old = [Poisoning(NOW - RECENT_SECONDS - 1, "a-server", MESSAGE)]
    assert "poisoned" not in findings(registries=[registry(poisonings=old)])


def test_the_restart_of_a_killed_instance_is_a_consequence():
    restarted = supervisor(
        processes={**supervisor().processes, "a:server": process("a:server", age=3)},
        restarts={**supervisor().restarts, "a:server": Restarts(1, 10, False)},
    )
    assert roots(registries=[registry(poisonings=KILLED)], supervisord=restarted) == ["poisoned"]
    others = [Poisoning(NOW, "b-server", MESSAGE)]
    assert roots(registries=[registry(poisonings=others)], supervisord=restarted) == ["restarts.a:server", "poisoned"]


def test_without_a_registry_the_routers_count_is_reported():
    text = (
        'svc_router_poisoned_requests_total{key="team"} 2.0\nsvc_router_poisoned_requests_total{key="idle"} 0.0\n'
        "svc_router_queue_limit 100.0\n"
    )
    alone = Facts(now=NOW, router=router(metrics=answer({}, text=text)))
    (result,) = failed_requests.check(alone)
    assert result.summary.startswith("2 requests killed two instances each")
    assert "team" in result.evidence
    assert "idle" not in result.evidence
    assert "poisoned" not in findings(registries=[registry(listing=GONE)])


def test_events_are_read_as_the_registry_lists_them():
    event = {"id": 1, "time": "1970-01-12T13:46:40+00:00", "kind": "poisoned", "service": "a-server", "message": "it"}
    assert poisonings([event, {**event, "time": "soon"}, {"service": "a"}, None]) == [Poisoning(NOW, "a-server", "it")]
    assert poisonings(None) == []
