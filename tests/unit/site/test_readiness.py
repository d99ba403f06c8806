import dataclasses

import pytest

from svc.site.components import Component
from svc.site.readiness import NotReady, Sight, Stage, judge

QWEN = Component("qwen", "babysitter", "localhost", (8100, 8101), ("qwen:server", "qwen:babysitter"))
WELL = {"qwen"}
ROUTER = Component("router", "router", "127.0.0.1", (8000,), ("router",), "http://localhost:18000")
ROUTED = {"qwen-server": ["a"]}


@pytest.mark.parametrize(
    ("server", "well", "routed", "stage"),
    [
        ("RUNNING", WELL, ROUTED, Stage.READY),
        ("RUNNING", WELL, {}, Stage.ROUTED),
        ("RUNNING", WELL, {"qwen-server": []}, Stage.ROUTED),
        ("RUNNING", set(), ROUTED, Stage.HEALTH),
        ("STARTING", WELL, ROUTED, Stage.STARTING),
        ("STOPPED", WELL, ROUTED, Stage.STARTING),
        ("BACKOFF", WELL, ROUTED, Stage.FAILED),
        ("FATAL", WELL, ROUTED, Stage.FAILED),
    ],
)
def test_an_instance_is_ready_when_it_runs_is_well_and_gets_requests(server, well, routed, stage):
    assert judge(QWEN, Sight({"qwen:server": server, "qwen:babysitter": "RUNNING"}, well, routed), ROUTER)[0] is stage


def test_an_engine_that_waiting_does_not_help_is_told_apart():
    states = dict.fromkeys(QWEN.programs, "RUNNING")
    for misconfigured, stage in ((True, Stage.MISCONFIGURED), (False, Stage.HEALTH)):
        told = {"qwen": NotReady("it wants an API key", misconfigured)}
        assert judge(QWEN, Sight(states, set(), {}, told), ROUTER)[0] is stage
    assert judge(QWEN, Sight(states, WELL, ROUTED, told), ROUTER)[0] is Stage.READY


def test_a_program_that_failed_is_named_before_one_that_still_starts():
    sight = Sight({"qwen:server": "STARTING", "qwen:babysitter": "FATAL"}, WELL, ROUTED)
    assert judge(QWEN, sight, ROUTER) == (Stage.FAILED, "qwen:babysitter")


def test_a_program_that_supervisord_does_not_know_yet_is_starting():
    assert judge(QWEN, Sight({}, WELL, ROUTED), ROUTER)[0] is Stage.STARTING


def test_without_a_router_health_is_enough():
    states = dict.fromkeys(QWEN.programs, "RUNNING")
    assert judge(QWEN, Sight(states, WELL, {}), None)[0] is Stage.READY


def test_the_registry_need_not_be_routed():
    registry = Component("registry", "registry", "127.0.0.1", (18000,), ("registry",))
    assert judge(registry, Sight({"registry": "RUNNING"}, {"registry"}, {}), ROUTER)[0] is Stage.READY


def test_a_router_that_asks_another_registry_is_not_waited_for():
    states = dict.fromkeys(QWEN.programs, "RUNNING")
    elsewhere = dataclasses.replace(QWEN, registry_url="http://10.0.0.1:18000")
    assert judge(elsewhere, Sight(states, WELL, {}), ROUTER)[0] is Stage.READY
    here = dataclasses.replace(QWEN, registry_url="http://127.0.0.1:18000")
    assert judge(here, Sight(states, WELL, {}), ROUTER)[0] is Stage.ROUTED


def test_an_instance_that_its_registry_refuses_is_not_ready():
    states = dict.fromkeys(QWEN.programs, "RUNNING")
    for misconfigured, stage in ((True, Stage.MISCONFIGURED), (False, Stage.REGISTERED)):
        sight = Sight(states, WELL, {}, refused={"qwen": NotReady("it wants a token", misconfigured)})
        assert judge(QWEN, sight, None)[0] is stage
        assert sight.reason(QWEN) == "it wants a token"
