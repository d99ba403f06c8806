"""The status of a site, from what supervisord, the registry and the router report."""

import dataclasses

import pytest

from svc.site.readiness import NotReady
from svc.site.site_snapshot import SiteSnapshot
from svc.site.status import site_status
from tests.unit.site.snapshots import COMPONENTS, HEALTHY_SITE, SERVICE, process


def changed(**more) -> SiteSnapshot:
    return dataclasses.replace(HEALTHY_SITE, **more)


def with_process(name: str, state: str, **more) -> SiteSnapshot:
    return changed(processes={**HEALTHY_SITE.processes, name: process(name, state, **more)})


def with_service(**more) -> SiteSnapshot:
    return changed(registry={"qwen": SERVICE, "qwen-server": {**SERVICE, **more}})


def row(snapshot: SiteSnapshot, name: str = "qwen:server"):
    return next(row for row in site_status(snapshot).programs if row.name == name)


def test_an_instance_that_is_not_ready_has_a_reason():
    snapshot = with_service(status="starting", is_healthy=False)
    snapshot = dataclasses.replace(snapshot, not_ready={"qwen": NotReady("it wants an API key (401)")})
    assert list(site_status(snapshot).problems) == ["qwen:server: starting: it wants an API key (401)"]


def test_a_healthy_site_has_no_problems():
    status = site_status(HEALTHY_SITE)
    assert status.ok
    assert status.problems == []
    assert [program.health for program in status.programs] == ["healthy", "ready 1/1", "healthy", "healthy"]
    server = row(HEALTHY_SITE)
    assert (server.pid, server.uptime, server.restarts, server.max_restarts) == (7, 60, 2, 5)
    assert (server.models, server.address) == (["m"], "localhost:8100")


@pytest.mark.parametrize(
    ("snapshot", "health"),
    [
        (with_service(status="starting", is_healthy=False), "starting"),
        (with_service(status="failed", is_healthy=False), "failed"),
        (with_service(is_healthy=False, health_status="unhealthy"), "unhealthy"),
        (with_service(is_healthy=False), "expired"),
        (with_service(drained=True, is_healthy=False, status="stopped"), "drained, stopped"),
        (with_service(drained=True, is_healthy=False), "drained"),
        (changed(registry={"qwen": SERVICE}), "unregistered"),
        (changed(router={"qwen-server": {"healthy": False, "models": ["m"]}}), "unrouted"),
        (changed(router={}), "unrouted"),
        (changed(registry=None, router=None), "unknown"),
    ],
)
def test_a_healthy_instance_is_healthy_in_the_registry_and_routed(snapshot, health):
    assert row(snapshot).health == health
    assert not row(snapshot).ok
    assert not site_status(snapshot).ok


@pytest.mark.parametrize(
    ("state", "health"),
    [("BACKOFF", "starting"), ("FATAL", "failed"), ("STOPPED", "stopped"), ("STOPPING", "stopping"), ("EXITED", "")],
)
@pytest.mark.parametrize("name", ["registry", "router", "qwen:server", "qwen:babysitter"])
def test_a_stopped_program_is_unhealthy_whatever_the_registry_says(state, health, name):
    assert row(with_process(name, state), name).health == health


def test_a_drained_instance_is_drained_while_it_is_stopped_too():
    drained = {"qwen": SERVICE, "qwen-server": {**SERVICE, "drained": True}}
    assert (
        row(dataclasses.replace(with_process("qwen:server", "STOPPED"), registry=drained)).health == "drained, stopped"
    )


def test_without_supervisord_nothing_is_healthy():
    status = site_status(changed(supervisord=None, processes={}))
    assert [program.health for program in status.programs] == ["", "", "", ""]
    assert status.problems == ["supervisord does not run here; svc up starts it"]


def test_without_the_registry_a_routed_instance_is_good_enough():
    snapshot = dataclasses.replace(with_process("registry", "STOPPED"), registry=None)
    assert (row(snapshot).health, row(snapshot).ok) == ("routed", True)
    assert site_status(snapshot).problems == ["registry: STOPPED"]
    assert site_status(changed(registry=None)).problems == ["the registry does not answer at http://127.0.0.1:18000"]
    far = changed(components=COMPONENTS[1:], registry=None)
    assert site_status(far).problems == ["the registry does not answer at http://127.0.0.1:18000"]


GONE = {"status": "running", "is_healthy": False, "drained": False, "metadata": {}}


@pytest.mark.parametrize(
    ("registered", "routed", "bad"),
    [
        (GONE, {}, True),
        ({**GONE, "health_status": "unhealthy"}, {}, True),
        ({**GONE, "status": "failed"}, {}, True),
        (SERVICE, {"ejected": True}, True),
        (SERVICE, {}, True),
        (None, {}, True),
        ({**GONE, "drained": True}, {}, False),
        ({**GONE, "status": "starting"}, {}, False),
        ({**GONE, "status": "stopped"}, {}, False),
        (SERVICE, {"status": "starting"}, False),
        (None, {"drained": True}, False),
    ],
)
def test_unused_instances_of_other_machines_are_a_problem(registered, routed, bad):
    router = {**HEALTHY_SITE.router, "far-server": {"healthy": False, "models": ["m"], **routed}}
    registry = {**HEALTHY_SITE.registry, **({"far-server": registered} if registered else {})}
    status = site_status(changed(router=router, registry=registry))
    assert status.problems == (["the router uses 1 of 2 instances; svc services list says which"] if bad else [])
    assert status.ok is not bad


def test_an_instance_of_this_machine_is_reported_once():
    status = site_status(changed(router={"qwen-server": {"healthy": False, "ejected": True, "models": ["m"]}}))
    assert status.problems == ["qwen:server: ejected"]


@pytest.mark.parametrize(
    ("routed", "health"),
    [({"healthy": True}, "failing"), ({"healthy": False, "ejected": True}, "failing, ejected")],
)
def test_an_instance_that_answers_500_is_failing(routed, health):
    status = site_status(changed(router={"qwen-server": {"models": ["m"], "failing": True, **routed}}))
    (problem,) = status.problems
    assert problem.startswith(f"qwen:server: {health}: most of its last answers are 500")
    far = {**HEALTHY_SITE.router, "far-server": {"models": ["m"], "failing": True, **routed}}
    (problem,) = site_status(changed(router=far)).problems
    assert problem.startswith("far-server: failing: most of its last answers are 500")


def test_a_router_of_another_registry_does_not_count():
    away = dataclasses.replace(COMPONENTS[2], registry_url="http://10.0.0.1:18000")
    assert row(changed(components=[*COMPONENTS[:2], away], router={})).ok


@pytest.mark.parametrize("state", ["STOPPED", "STARTING", "BACKOFF", "FATAL", "EXITED"])
def test_a_program_that_does_not_run_has_supervisords_reason(state):
    status = site_status(with_process("qwen:server", state, spawnerr="Exited too quickly"))
    reason = ": Exited too quickly" if state in ("BACKOFF", "FATAL") else ""
    assert status.problems == [f"qwen:server: {state}{reason}"]


def test_a_failed_program_that_cannot_read_its_keys_has_that_reason():
    failed = {"qwen:server": process("qwen:server", "FATAL", spawnerr="Exited with code 1")}
    snapshot = changed(
        processes={**HEALTHY_SITE.processes, **failed}, unusable_keys={"qwen": "qwen.key: cannot read it"}
    )
    [problem] = site_status(snapshot).problems
    assert problem == "qwen:server: FATAL: Exited with code 1: qwen.key: cannot read it"


def test_without_supervisord_the_components_are_listed_all_the_same():
    status = site_status(SiteSnapshot(COMPONENTS, registry_url="http://127.0.0.1:18000"))
    assert status.problems == ["supervisord does not run here; svc up starts it"], (
        "which says why the registry does not answer, either"
    )
    assert [program.name for program in status.programs] == ["registry", "router", "qwen:server", "qwen:babysitter"]


def test_an_unhealthy_registry_has_a_reason():
    status = site_status(changed(registry_trouble="its disk is full"))
    assert status.programs[0].health == "degraded"
    assert status.problems == ["the registry at http://127.0.0.1:18000: its disk is full"]
    assert site_status(changed(registry=None, registry_trouble="its disk is full")).programs[0].health == "failing"


def test_a_component_that_supervisord_does_not_have_is_a_problem():
    status = site_status(changed(processes={k: v for k, v in HEALTHY_SITE.processes.items() if k != "qwen:babysitter"}))
    assert status.problems == ["qwen:babysitter: supervisord does not have it yet; svc up brings it in"]


@pytest.mark.parametrize(
    ("state", "code", "ok"),
    [("RUNNING", 0, True), ("EXITED", 0, True), ("EXITED", 1, False), ("FATAL", 0, False), ("STOPPED", 0, True)],
)
def test_of_a_foreign_program_only_failures_are_problems(state, code, ok):
    assert site_status(with_process("mine", state, exitstatus=code)).ok is ok


def test_a_healthy_instance_with_unreadable_models_is_a_problem():
    snapshot = changed(not_ready={"qwen": NotReady("it refuses the key in k (401)", misconfigured=True)})
    assert list(site_status(snapshot).problems) == ["qwen:server: misconfigured: it refuses the key in k (401)"]


def test_a_babysitter_that_its_registry_refuses_has_a_reason():
    snapshot = changed(
        registry={"qwen-server": SERVICE}, refused={"qwen": NotReady("it wants a token", misconfigured=True)}
    )
    assert list(site_status(snapshot).problems) == ["qwen:babysitter: unregistered: it wants a token"]


def test_keys_that_are_not_applied_yet_are_a_warning():
    status = site_status(changed(unapplied_keys="var/keys.toml"))
    assert status.ok, "the exit code is that of a site that serves requests"
    assert status.problems == []
    (warning,) = status.warnings
    assert warning.startswith("router: var/keys.toml: configured, and not applied yet: ")
    assert site_status(HEALTHY_SITE).warnings == []


def test_keys_that_the_router_cannot_read_again_are_a_warning():
    problem = "var/keys.toml: cannot read the keys: No such file or directory; make it with `svc keys add NAME`"
    status = site_status(changed(invalid_keys=problem))
    assert status.ok, "the router goes on with the keys that it has read before"
    (warning,) = status.warnings
    assert warning.startswith(f"router: {problem}; the running router keeps the keys")


@pytest.mark.parametrize(
    ("state", "service", "health", "ok"),
    [
        ("STOPPED", {"status": "asleep"}, "asleep", True),
        ("STOPPED", {"status": "starting"}, "asleep", True),  # the registry does not know it yet
        ("RUNNING", {"status": "asleep"}, "asleep", True),  # the engine sleeps, its process runs
        ("RUNNING", {"status": "starting"}, "starting", True),  # it wakes
        ("BACKOFF", {"status": "starting"}, "starting", False),
        ("RUNNING", {"status": "draining"}, "draining", False),
        ("STOPPED", {"status": "asleep", "drained": True}, "drained, asleep", False),
        ("FATAL", {"status": "failed"}, "failed", False),
    ],
)
def test_an_instance_on_demand_is_in_order_while_it_is_asleep(state, service, health, ok):
    snapshot = with_process("qwen:server", state, pid=0)
    snapshot = dataclasses.replace(
        snapshot,
        components=[dataclasses.replace(c, on_demand=c.kind == "babysitter") for c in COMPONENTS],
        registry={"qwen": SERVICE, "qwen-server": {**SERVICE, "is_healthy": False, **service}},
        router={"qwen-server": {"healthy": False, "models": ["m"], "status": service["status"]}},
    )
    assert (row(snapshot).health, row(snapshot).ok, row(snapshot).models) == (health, ok, ["m"])
    assert site_status(snapshot).ok is ok


def test_instances_that_are_asleep_are_not_missing_from_those_that_the_router_uses():
    used, asleep = {"healthy": True, "models": ["m"]}, {"healthy": False, "status": "asleep", "models": ["n"]}
    broken = {"healthy": False, "status": "failed", "models": ["o"]}
    sleeping = changed(router={"qwen-server": used, "b": asleep, "c": asleep})
    assert row(sleeping, "router").health == "ready 1/1, 2 asleep"
    status = site_status(changed(router={"qwen-server": used, "b": asleep, "c": broken}))
    assert "the router uses 1 of 2 instances; svc services list says which" in status.problems


def test_a_stopped_instance_that_is_not_on_demand_is_not_asleep():
    assert row(with_process("qwen:server", "STOPPED", pid=0)).health == "stopped"
    assert not row(with_process("qwen:server", "STOPPED", pid=0)).ok
