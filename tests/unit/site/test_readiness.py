import dataclasses

import pytest

from svc.site.components import Component
from svc.site.readiness import NotReady, ReadinessStage, SiteObservation, readiness, ready_text

QWEN = Component("qwen", "babysitter", "localhost", (8100, 8101), ("qwen:server", "qwen:babysitter"))
HEALTHY = {"qwen"}
ROUTER = Component("router", "router", "127.0.0.1", (8000,), ("router",), "http://localhost:18000")
ROUTED = {"qwen-server": ["a"]}


@pytest.mark.parametrize(
    ("server", "healthy", "routed", "state"),
    [
        ("RUNNING", HEALTHY, ROUTED, ReadinessStage.READY),
        ("RUNNING", HEALTHY, {}, ReadinessStage.ROUTED),
        ("RUNNING", HEALTHY, {"qwen-server": []}, ReadinessStage.ROUTED),
        ("RUNNING", set(), ROUTED, ReadinessStage.HEALTH),
        ("STARTING", HEALTHY, ROUTED, ReadinessStage.STARTING),
        ("STOPPED", HEALTHY, ROUTED, ReadinessStage.STARTING),
        ("BACKOFF", HEALTHY, ROUTED, ReadinessStage.FAILED),
        ("FATAL", HEALTHY, ROUTED, ReadinessStage.FAILED),
    ],
)
def test_an_instance_is_ready_when_it_runs_is_healthy_and_is_routed(server, healthy, routed, state):
    assert (
        readiness(
            QWEN, SiteObservation({"qwen:server": server, "qwen:babysitter": "RUNNING"}, healthy, routed), ROUTER
        )[0]
        is state
    )


def test_a_misconfigured_engine_is_not_just_unhealthy():
    states = dict.fromkeys(QWEN.programs, "RUNNING")
    for misconfigured, state in ((True, ReadinessStage.MISCONFIGURED), (False, ReadinessStage.HEALTH)):
        reasons = {"qwen": NotReady("it wants an API key", misconfigured)}
        assert readiness(QWEN, SiteObservation(states, set(), {}, reasons), ROUTER)[0] is state
    assert readiness(QWEN, SiteObservation(states, HEALTHY, ROUTED, reasons), ROUTER)[0] is ReadinessStage.READY


def test_a_drained_instance_is_ready_although_no_router_uses_it():
    observation = SiteObservation(dict.fromkeys(QWEN.programs, "RUNNING"), HEALTHY, {}, drained={"qwen"})
    assert readiness(QWEN, observation, ROUTER)[0] is ReadinessStage.READY


def test_a_router_that_its_registry_refuses_needs_a_setting():
    refused = {"router": NotReady("the registry refuses the router", misconfigured=True)}
    observation = SiteObservation({"router": "RUNNING"}, set(), {}, refused)
    assert readiness(ROUTER, observation, ROUTER)[0] is ReadinessStage.MISCONFIGURED
    assert observation.reason(ROUTER) == "the registry refuses the router"


def test_a_failed_program_is_named_before_one_that_starts():
    observation = SiteObservation({"qwen:server": "STARTING", "qwen:babysitter": "FATAL"}, HEALTHY, ROUTED)
    assert readiness(QWEN, observation, ROUTER) == (ReadinessStage.FAILED, "qwen:babysitter")


def test_a_program_that_supervisord_does_not_know_yet_is_starting():
    assert readiness(QWEN, SiteObservation({}, HEALTHY, ROUTED), ROUTER)[0] is ReadinessStage.STARTING


def test_without_a_router_health_is_enough():
    states = dict.fromkeys(QWEN.programs, "RUNNING")
    assert readiness(QWEN, SiteObservation(states, HEALTHY, {}), None)[0] is ReadinessStage.READY


def test_the_registry_need_not_be_routed():
    registry = Component("registry", "registry", "127.0.0.1", (18000,), ("registry",))
    assert (
        readiness(registry, SiteObservation({"registry": "RUNNING"}, {"registry"}, {}), ROUTER)[0]
        is ReadinessStage.READY
    )


def test_an_instance_of_another_registry_needs_no_router():
    states = dict.fromkeys(QWEN.programs, "RUNNING")
    elsewhere = dataclasses.replace(QWEN, registry_url="http://10.0.0.1:18000")
    assert readiness(elsewhere, SiteObservation(states, HEALTHY, {}), ROUTER)[0] is ReadinessStage.READY
    here = dataclasses.replace(QWEN, registry_url="http://127.0.0.1:18000")
    assert readiness(here, SiteObservation(states, HEALTHY, {}), ROUTER)[0] is ReadinessStage.ROUTED


def test_an_instance_that_its_registry_refuses_is_not_ready():
    states = dict.fromkeys(QWEN.programs, "RUNNING")
    for misconfigured, state in ((True, ReadinessStage.MISCONFIGURED), (False, ReadinessStage.REGISTERED)):
        observation = SiteObservation(
            states, HEALTHY, {}, refused={"qwen": NotReady("it wants a token", misconfigured)}
        )
        assert readiness(QWEN, observation, None)[0] is state
        assert observation.reason(QWEN) == "it wants a token"


VISION = dataclasses.replace(QWEN, on_demand=True)
ASLEEP = {"qwen:server": "STOPPED", "qwen:babysitter": "RUNNING"}


@pytest.mark.parametrize(
    ("states", "more", "stage"),
    [
        (ASLEEP, {}, ReadinessStage.READY),
        ({**ASLEEP, "qwen:server": "RUNNING"}, {"on_demand": {"qwen": "starting"}}, ReadinessStage.READY),
        ({**ASLEEP, "qwen:server": "FATAL"}, {"on_demand": {"qwen": "failed"}}, ReadinessStage.READY),
        (ASLEEP, {"on_demand": {}}, ReadinessStage.HEALTH),
        (ASLEEP, {"on_demand": {"qwen": "unknown"}}, ReadinessStage.HEALTH),
        (ASLEEP, {"on_demand": {}, "healthy": HEALTHY}, ReadinessStage.READY),  # it was ready before
        (ASLEEP, {"listed": ()}, ReadinessStage.ROUTED),
        (ASLEEP, {"refused": {"qwen": NotReady("no token", misconfigured=True)}}, ReadinessStage.MISCONFIGURED),
        (ASLEEP, {"refused": {"qwen": NotReady("it is full")}}, ReadinessStage.REGISTERED),
        ({**ASLEEP, "qwen:babysitter": "STARTING"}, {}, ReadinessStage.STARTING),
        ({**ASLEEP, "qwen:babysitter": "FATAL"}, {}, ReadinessStage.FAILED),
    ],
)
def test_an_instance_on_demand_is_ready_when_a_request_can_wake_it(states, more, stage):
    reported = {"healthy": (), "on_demand": {"qwen": "asleep"}, "listed": {"qwen-server"}, **more}
    observation = SiteObservation(states, routed={}, **reported)
    assert readiness(VISION, observation, ROUTER)[0] is stage
    assert readiness(QWEN, observation, ROUTER)[0] is not ReadinessStage.READY


def test_what_is_ready_is_shown_as_what_it_is():
    asleep = SiteObservation(ASLEEP, (), {}, on_demand={"qwen": "asleep"})
    assert ready_text(VISION, asleep) == "asleep: a request wakes it, at http://localhost:8100"
    awake = SiteObservation(ASLEEP, HEALTHY, ROUTED, on_demand={"qwen": "running"})
    assert ready_text(VISION, awake) == "ready at http://localhost:8100"
    assert "no requests until `svc undrain qwen`" in ready_text(
        QWEN, SiteObservation({}, HEALTHY, {}, drained={"qwen"})
    )
