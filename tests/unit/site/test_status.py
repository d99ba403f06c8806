"""What the report makes of what supervisord, the registry and the router say."""

import dataclasses

import pytest

from svc.site.components import Component
from svc.site.readiness import NotReady
from svc.site.status import Seen, report
from svc.supervision.client import Process, Restarts

PARTS = [
    Component("registry", "registry", "127.0.0.1", (18000,), ("registry",)),
    Component("router", "router", "127.0.0.1", (8000,), ("router",), "http://localhost:18000"),
    Component(
        "qwen", "babysitter", "localhost", (8100, 8101), ("qwen:server", "qwen:babysitter"), "http://localhost:18000"
    ),
]
SERVICE = {"status": "running", "is_healthy": True, "drained": False, "metadata": {"models": ["m"]}}


def process(name: str, state: str = "RUNNING", **more) -> Process:
    group, _, own = name.partition(":")
    fields = {
        "pid": 7,
        "start": 100,
        "stop": 0,
        "now": 160,
        "exitstatus": 0,
        "spawnerr": "",
        "description": "",
        "logfile": "",
    }
    return Process(**{"name": own or group, "group": group, "state": state, **fields, **more})


WELL = Seen(
    components=PARTS,
    supervisord=1,
    processes={name: process(name) for component in PARTS for name in component.programs},
    restarts={"qwen:server": Restarts(2, 5, False)},
    registry={"qwen": SERVICE, "qwen-server": SERVICE},
    registry_url="http://127.0.0.1:18000",
    router={"qwen-server": {"healthy": True, "models": ["m"]}},
    routing=True,
)


def changed(**more) -> Seen:
    return dataclasses.replace(WELL, **more)


def with_process(name: str, state: str, **more) -> Seen:
    return changed(processes={**WELL.processes, name: process(name, state, **more)})


def with_service(**more) -> Seen:
    return changed(registry={"qwen": SERVICE, "qwen-server": {**SERVICE, **more}})


def row(seen: Seen, name: str = "qwen:server"):
    return next(row for row in report(seen).programs if row.name == name)


def test_an_instance_that_is_not_ready_says_why():
    seen = with_service(status="starting", is_healthy=False)
    seen = dataclasses.replace(seen, not_ready={"qwen": NotReady("it wants an API key (401)")})
    assert list(report(seen).problems) == ["qwen:server: starting: it wants an API key (401)"]


def test_when_all_is_well_there_is_no_problem():
    told = report(WELL)
    assert told.ok
    assert told.problems == []
    assert [program.health for program in told.programs] == ["healthy", "ready 1/1", "healthy", "healthy"]
    server = row(WELL)
    assert (server.pid, server.uptime, server.restarts, server.max_restarts) == (7, 60, 2, 5)
    assert (server.models, server.address) == (["m"], "localhost:8100")


@pytest.mark.parametrize(
    ("seen", "health"),
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
def test_an_instance_is_well_only_if_the_registry_says_so_and_the_router_uses_it(seen, health):
    assert row(seen).health == health
    assert not row(seen).ok
    assert not report(seen).ok


@pytest.mark.parametrize(
    ("state", "health"),
    [("BACKOFF", "starting"), ("FATAL", "failed"), ("STOPPED", "stopped"), ("STOPPING", "stopping"), ("EXITED", "")],
)
@pytest.mark.parametrize("name", ["registry", "router", "qwen:server", "qwen:babysitter"])
def test_what_does_not_run_is_not_healthy_whatever_others_still_believe(state, health, name):
    assert row(with_process(name, state), name).health == health


def test_what_is_drained_is_so_while_it_does_not_run_too():
    drained = {"qwen": SERVICE, "qwen-server": {**SERVICE, "drained": True}}
    assert (
        row(dataclasses.replace(with_process("qwen:server", "STOPPED"), registry=drained)).health == "drained, stopped"
    )


def test_where_supervisord_is_gone_nothing_is_healthy():
    told = report(changed(supervisord=None, processes={}))
    assert [program.health for program in told.programs] == ["", "", "", ""]
    assert told.problems == ["supervisord does not run here; svc up starts it"]


def test_while_the_registry_is_away_it_is_well_enough_that_the_router_uses_an_instance():
    seen = dataclasses.replace(with_process("registry", "STOPPED"), registry=None)
    assert (row(seen).health, row(seen).ok) == ("routed", True)
    assert report(seen).problems == ["registry: STOPPED"]
    assert report(changed(registry=None)).problems == ["the registry does not answer at http://127.0.0.1:18000"]
    far = changed(components=PARTS[1:], registry=None)
    assert report(far).problems == ["the registry does not answer at http://127.0.0.1:18000"]


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
def test_instances_of_other_machines_that_the_router_should_use_and_does_not_are_a_problem(registered, routed, bad):
    router = {**WELL.router, "far-server": {"healthy": False, "models": ["m"], **routed}}
    registry = {**WELL.registry, **({"far-server": registered} if registered else {})}
    told = report(changed(router=router, registry=registry))
    assert told.problems == (["the router uses 1 of 2 instances; svc services list says which"] if bad else [])
    assert told.ok is not bad


def test_an_instance_of_this_machine_is_told_once():
    told = report(changed(router={"qwen-server": {"healthy": False, "ejected": True, "models": ["m"]}}))
    assert told.problems == ["qwen:server: ejected"]


def test_a_router_of_another_registry_is_not_asked():
    away = dataclasses.replace(PARTS[2], registry_url="http://10.0.0.1:18000")
    assert row(changed(components=[*PARTS[:2], away], router={})).ok


@pytest.mark.parametrize("state", ["STOPPED", "STARTING", "BACKOFF", "FATAL", "EXITED"])
def test_a_program_that_does_not_run_is_a_problem_with_supervisord_s_reason(state):
    told = report(with_process("qwen:server", state, spawnerr="Exited too quickly"))
    reason = ": Exited too quickly" if state in ("BACKOFF", "FATAL") else ""
    assert told.problems == [f"qwen:server: {state}{reason}"]


def test_without_supervisord_that_is_said_and_the_parts_are_listed_all_the_same():
    told = report(Seen(PARTS, registry_url="http://127.0.0.1:18000"))
    assert told.problems == ["supervisord does not run here; svc up starts it"], (
        "which says why the registry does not answer, either"
    )
    assert [program.name for program in told.programs] == ["registry", "router", "qwen:server", "qwen:babysitter"]


def test_a_registry_that_is_not_well_itself_says_why():
    told = report(changed(registry_trouble="its disk is full"))
    assert told.programs[0].health == "degraded"
    assert told.problems == ["the registry at http://127.0.0.1:18000: its disk is full"]
    assert report(changed(registry=None, registry_trouble="its disk is full")).programs[0].health == "failing"


def test_a_part_that_supervisord_does_not_have_yet_is_a_problem():
    told = report(changed(processes={k: v for k, v in WELL.processes.items() if k != "qwen:babysitter"}))
    assert told.problems == ["qwen:babysitter: supervisord does not have it yet; svc up brings it in"]


@pytest.mark.parametrize(
    ("state", "code", "ok"),
    [("RUNNING", 0, True), ("EXITED", 0, True), ("EXITED", 1, False), ("FATAL", 0, False), ("STOPPED", 0, True)],
)
def test_of_a_program_that_is_not_ours_only_failures_are_problems(state, code, ok):
    assert report(with_process("mine", state, exitstatus=code)).ok is ok


def test_a_healthy_instance_whose_models_cannot_be_read_any_more_is_a_problem():
    seen = changed(not_ready={"qwen": NotReady("it refuses the key in k (401)", misconfigured=True)})
    assert list(report(seen).problems) == ["qwen:server: misconfigured: it refuses the key in k (401)"]


def test_a_babysitter_that_its_registry_refuses_says_why():
    seen = changed(
        registry={"qwen-server": SERVICE}, refused={"qwen": NotReady("it wants a token", misconfigured=True)}
    )
    assert list(report(seen).problems) == ["qwen:babysitter: unregistered: it wants a token"]
