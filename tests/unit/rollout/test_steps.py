"""What a rollout decides, from what it observes."""

import dataclasses
from typing import Any

import pytest

from svc.rollout.availability import lost_models, refused_losses
from svc.rollout.handover_text import staying_text
from svc.rollout.observation import RolloutObservation, routers_without
from svc.rollout.steps import Decision, decide, ordered, progress_text
from svc.rollout.steps import RolloutAction as Action
from svc.rollout.tasks import InstanceOperation as Operation
from svc.rollout.tasks import RolloutLimits, Step, Task
from svc.rollout.tasks import RolloutStage as Stage

LIMITS = RolloutLimits(drain_timeout=60, timeout=30)


def task(name: str, operation: Operation = Operation.RESTART, **more: Any) -> Task:
    return Task(name, operation, **more)


def steps(*entries: Step) -> dict[str, Step]:
    return {step.task.name: step for step in entries}


def waiting(*names: str) -> dict[str, Step]:
    return steps(*(Step(task(name)) for name in names))


def service(*models: str, healthy: bool = True, **more: Any) -> dict[str, Any]:
    fields = {"status": "running", "health_status": "healthy", "drained": False, "is_healthy": healthy}
    return {**fields, "metadata": {"models": list(models)}, **more}


DRAINED = {"drained": True, "healthy": False}


def observed(
    now: float = 0, states: dict[str, str] | None = None, answering: tuple[str, ...] = (), **services: Any
) -> RolloutObservation:
    """Services by the names of their babysitters; the router uses the healthy ones."""
    by_name = {f"{name}-server": fields for name, fields in services.items()}
    router = {name: (fields["is_healthy"], 0) for name, fields in by_name.items()}
    return RolloutObservation(now, by_name, [router], states or {}, answering)


def busy(observation: RolloutObservation, **counts: int) -> RolloutObservation:
    (router,) = observation.routers
    assert router is not None
    more = {f"{name}-server": (router[f"{name}-server"][0], count) for name, count in counts.items()}
    return dataclasses.replace(observation, routers=[{**router, **more}])


def decided(
    steps: dict[str, Step], observation: RolloutObservation, halted: bool = False, **limits: Any
) -> list[Decision]:
    return decide(steps, observation, dataclasses.replace(LIMITS, **limits), halted)


def names(decisions: list[Decision], action: Action) -> list[str]:
    return [decision.name for decision in decisions if decision.action is action]


def lost_by_instance(steps: dict[str, Step], observation: RolloutObservation) -> dict[str, list[str]]:
    models: dict[str, list[str]] = {}
    for loss in refused_losses(steps.values(), observation):
        models.setdefault(loss.instance, []).append(loss.model)
    return models


# Which instances begin.


def test_one_instance_is_drained_at_a_time():
    observation = observed(a=service("m"), b=service("m"), c=service("m"))
    assert decided(waiting("a", "b", "c"), observation) == [Decision("a", Action.DRAIN)]
    out = {**waiting("b", "c"), **steps(Step(task("a"), Stage.RETURNING))}
    assert decided(out, observed(a=service("m", **DRAINED), b=service("m"), c=service("m"))) == []


def test_several_are_drained_at_once_but_never_all_of_a_model():
    observation = observed(a=service("m"), b=service("m"), c=service("n"), d=service("n"))
    decisions = decided(waiting("a", "b", "c", "d"), observation, parallel=4)
    assert names(decisions, Action.DRAIN) == ["a", "c"]


def test_the_last_healthy_instance_waits_and_fails_in_the_end():
    observation = observed(a=service("m"), b=service("m", healthy=False))
    assert decided(waiting("a"), observation) == [], "b may come back"
    (decision,) = decided(waiting("a"), dataclasses.replace(observation, now=31))
    assert (decision.action, decision.text) == (
        Action.FAIL,
        "it is the last healthy instance of m; --allow-downtime lets it go",
    )
    assert decided(waiting("a"), observation, allow_downtime=True) == [Decision("a", Action.DRAIN)]


def test_the_only_instance_that_lists_a_model_fails_at_once():
    """The others may have been changed to serve another model: none of them comes back with this one."""
    (decision,) = decided(waiting("a"), observed(a=service("old"), b=service("new")))
    assert (decision.action, decision.text) == (
        Action.FAIL,
        "it is the last healthy instance of old; --allow-downtime lets it go",
    )
    going = {**waiting("a"), **steps(Step(task("b"), Stage.RETURNING))}
    assert decided(going, observed(a=service("old"), b=service("new", **DRAINED))) == [], "b is waited for first"


def test_an_instance_that_a_router_does_not_use_does_not_count():
    observation = observed(a=service("m"), b=service("m"))
    ejected = dataclasses.replace(
        observation, routers=[*observation.routers, {"a-server": (True, 0), "b-server": (False, 0)}]
    )
    assert lost_models(Step(task("a")), observation) == []
    assert lost_models(Step(task("a")), ejected) == ["m"]


def test_an_instance_that_no_router_uses_is_still_the_last_of_its_model():
    """Otherwise a wrong router, which knows no instance, would let every instance stop."""
    observation = dataclasses.replace(observed(a=service("m"), b=service("m")), routers=[{}])
    assert lost_models(Step(task("a")), observation) == ["m"]
    assert routers_without(["a-server"], observation) == [0]
    assert routers_without(["a-server"], observed(a=service("m", healthy=False))) == []
    assert routers_without(["a-server", "new-server"], observed(a=service("m"))) == []


def test_each_model_of_an_instance_counts():
    assert lost_models(Step(task("a")), observed(a=service("m", "n"), b=service("m"))) == ["n"]


def test_an_instance_that_serves_nothing_is_drained_at_any_time():
    observation = observed(a=service("m", healthy=False, status="failed"))
    assert decided(waiting("a"), observation) == [Decision("a", Action.DRAIN)]


def test_no_instance_is_drained_while_the_registry_does_not_answer():
    silent = RolloutObservation(0, None, [], {})
    assert decided(waiting("a"), silent) == []
    (decision,) = decided(waiting("a"), dataclasses.replace(silent, now=31))
    assert (decision.action, decision.text) == (Action.FAIL, "the registry does not answer")


def test_an_instance_that_needs_the_port_of_another_waits_for_it():
    both = steps(Step(task("a", after=frozenset({"b"}))), Step(task("b")))
    observation = observed(a=service("m"), b=service("n"), c=service("m", "n"))
    assert decided(both, observation) == [Decision("b", Action.DRAIN)]
    assert decided({**both, "b": Step(task("b"), Stage.DONE)}, observation) == [Decision("a", Action.DRAIN)]


def test_an_added_instance_is_only_started():
    assert decided(steps(Step(task("a", Operation.ADD))), observed()) == [Decision("a", Action.CHANGE)]


# Beforehand.


def test_the_last_healthy_instance_of_a_model_is_refused_beforehand():
    assert lost_by_instance(waiting("a", "b"), observed(a=service("m"), b=service("m", "n"))) == {"b": ["n"]}
    assert lost_by_instance(waiting("a"), observed(a=service("m"), b=service("m", healthy=False))) == {"a": ["m"]}


def test_nothing_is_refused_that_the_rollout_itself_may_bring_back():
    unhealthy = service("m", healthy=False, status="failed")
    assert lost_by_instance(waiting("a", "b"), observed(a=service("m"), b=unhealthy)) == {}
    assert lost_by_instance(waiting("a", "b"), observed(a=service("m"), b=service(healthy=False))) == {}, (
        "the models of b are unknown"
    )
    assert lost_by_instance(steps(Step(task("a")), Step(task("b", Operation.ADD))), observed(a=service("m"))) == {}
    assert lost_by_instance(waiting("a", "b"), observed(a=service("m"), b=service("m", **DRAINED))) == {"a": ["m"]}


def test_the_order_is_unfinished_added_unhealthy_restarted_removed():
    tasks = [
        task("gone", Operation.REMOVE),
        task("a"),
        task("unhealthy"),
        task("new", Operation.ADD),
        task("left", Operation.FINISH),
    ]
    observation = observed(gone=service("m"), a=service("m"), unhealthy=service("m", healthy=False))
    assert [task.name for task in ordered(tasks, observation)] == ["left", "new", "unhealthy", "a", "gone"]


# The stages of one instance.


def one_step(stage: Stage, operation: Operation = Operation.RESTART, owns_drain: bool = True) -> dict[str, Step]:
    return steps(Step(task("a", operation), stage, 0, owns_drain))


RUNNING = {"a:server": "RUNNING", "a:babysitter": "RUNNING"}


def test_a_drained_instance_stops_when_no_router_uses_it_or_has_requests():
    observation = observed(a=service("m", **DRAINED), b=service("m"))
    assert decided(one_step(Stage.DRAINING), busy(observation, a=1)) == []
    not_applied = dataclasses.replace(observation, routers=[{"a-server": (True, 0), "b-server": (True, 0)}])
    assert decided(one_step(Stage.DRAINING), not_applied) == []
    two = dataclasses.replace(observation, routers=[*observation.routers, {"a-server": (False, 2)}])
    assert decided(one_step(Stage.DRAINING), two, allow_downtime=True) == [], "another router"
    assert decided(one_step(Stage.DRAINING), observation) == [Decision("a", Action.STOP)]


def test_requests_in_flight_after_the_drain_timeout_are_cut_and_counted():
    observation = busy(observed(now=61, a=service("m", **DRAINED), b=service("m")), a=3)
    assert decided(one_step(Stage.DRAINING), observation) == [Decision("a", Action.STOP, "3 requests cut after 60 s")]


def test_streams_are_handed_over_once_and_only_from_an_own_drain():
    observation = busy(observed(now=5, a=service("m", **DRAINED), b=service("m")), a=3)
    (decision,) = decided(one_step(Stage.DRAINING), observation, handover=5)
    assert (decision.action, decision.text) == (Action.HAND_OVER, "its streams move to other instances now, after 5 s")
    assert decided(one_step(Stage.DRAINING), observation, handover=5.1) == []
    assert decided(one_step(Stage.DRAINING), observation) == []
    assert decided(one_step(Stage.DRAINING, owns_drain=False), observation, handover=5) == []
    begun = steps(dataclasses.replace(one_step(Stage.DRAINING)["a"], handover_since=5.0))
    assert decided(begun, dataclasses.replace(observation, now=59), handover=5) == []
    assert names(decided(begun, dataclasses.replace(observation, now=61), handover=5), Action.STOP) == ["a"]


def test_nothing_is_handed_over_if_nothing_is_in_flight():
    observation = observed(now=9, a=service("m", **DRAINED), b=service("m"))
    assert decided(one_step(Stage.DRAINING), observation, handover=5) == [Decision("a", Action.STOP)]


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ({}, ""),
        ({"moving": 2}, "; 2 move to other instances"),
        (
            {"moving": 1, "tool_call": 2, "not_streamed": 1},
            "; 1 moves to other instances, 3 waited for (not streamed: 1, tool call: 2)",
        ),
        ({"engine": 3}, "; 3 waited for (no other instance continues answers: 3)"),
    ],
)
def test_the_progress_reports_what_moves_and_what_is_waited_for(counts: dict[str, int], text: str):
    drained = busy(observed(now=9, a=service("m", handover=True, **DRAINED)), a=3)
    observation = dataclasses.replace(drained, handovers=[{"a-server": counts}, {}])
    step = dataclasses.replace(one_step(Stage.DRAINING)["a"], handover_since=5.0)
    assert progress_text(step, observation) == f"draining: 3 in flight{text}"


def test_the_progress_reports_that_an_older_registry_knows_no_handover():
    observation = busy(observed(now=9, a=service("m", **DRAINED)), a=3)
    step = dataclasses.replace(one_step(Stage.DRAINING)["a"], handover_since=5.0)
    text = "draining: 3 in flight; all waited for: the registry is older and knows no handover"
    assert progress_text(step, observation) == text
    assert staying_text(step, observation) == text.partition("; ")[2]
    same_round = dataclasses.replace(step, handover_since=9.5)
    assert progress_text(same_round, observation) == "draining: 3 in flight", "it has been observed before"


def test_requests_are_not_cut_while_a_router_does_not_answer():
    observation = dataclasses.replace(observed(now=61, a=service("m", **DRAINED), b=service("m")), routers=[None])
    (decision,) = decided(one_step(Stage.DRAINING), observation)
    assert decision.action is Action.FAIL


def test_a_drain_is_cancelled_when_the_other_instance_has_failed():
    observation = observed(a=service("m", **DRAINED), b=service("m", healthy=False))
    assert decided(one_step(Stage.DRAINING), observation) == [Decision("a", Action.CANCEL_DRAIN)]
    assert decided(one_step(Stage.DRAINING, owns_drain=False), observation) == [Decision("a", Action.STOP)], (
        "an operator's drain"
    )


@pytest.mark.parametrize("stage", [Stage.WAITING, Stage.DRAINING])
def test_after_a_failure_no_further_instance_is_drained(stage: Stage):
    observation = observed(a=service("m", **(DRAINED if stage is Stage.DRAINING else {})), b=service("m"))
    decisions = decided(one_step(stage), observation, halted=True)
    assert [decision.action for decision in decisions] == ([Action.CANCEL_DRAIN] if stage is Stage.DRAINING else [])


def test_an_instance_is_changed_when_both_programs_have_ended():
    ending = {"a:server": "STOPPING", "a:babysitter": "STOPPED"}
    assert decided(one_step(Stage.STOPPING), observed(states=ending)) == []
    assert decided(one_step(Stage.STOPPING), observed(states=dict.fromkeys(ending, "STOPPED"))) == [
        Decision("a", Action.CHANGE)
    ]
    assert decided(one_step(Stage.STOPPING), observed()) == [Decision("a", Action.CHANGE)], "supervisord has it no more"
    (decision,) = decided(one_step(Stage.STOPPING), observed(now=31, states=ending))
    assert (decision.action, decision.text) == (Action.FAIL, "it does not stop within 30 s")


def test_it_is_undrained_when_supervisord_registry_and_it_say_it_serves():
    there = {"states": RUNNING, "answering": ("a",)}
    assert decided(one_step(Stage.RETURNING), observed(**there, a=service("m", **DRAINED))) == [
        Decision("a", Action.UNDRAIN)
    ]
    for observation in (
        observed(states=RUNNING, a=service("m", **DRAINED)),
        observed(**there, a=service("m", status="starting", **DRAINED)),
        observed(**there, a=service(**DRAINED)),
        observed(**there),
        observed(states={**RUNNING, "a:server": "STARTING"}, answering=("a",), a=service("m", **DRAINED)),
    ):
        assert decided(one_step(Stage.RETURNING), observation) == []


def test_it_is_done_when_every_router_uses_it_or_the_operator_drained_it():
    observation = observed(states=RUNNING, a=service("m"))
    assert decided(one_step(Stage.ROUTING), observation) == [Decision("a", Action.FINISH)]
    for flight in (None, {"a-server": (False, 0)}):
        not_applied = dataclasses.replace(observation, routers=[*observation.routers, flight])
        assert decided(one_step(Stage.ROUTING), not_applied) == []
    drained = observed(states=RUNNING, a=service("m", **DRAINED))
    assert decided(one_step(Stage.ROUTING, owns_drain=False), drained) == [Decision("a", Action.FINISH)]


@pytest.mark.parametrize("stage", [Stage.RETURNING, Stage.ROUTING])
def test_an_instance_that_ends_again_or_takes_too_long_has_failed(stage: Stage):
    for state in ("BACKOFF", "FATAL"):
        (decision,) = decided(one_step(stage), observed(states={**RUNNING, "a:server": state}))
        assert (decision.action, decision.text, decision.program) == (
            Action.FAIL,
            "it does not come back",
            "a:server",
        )
    (decision,) = decided(one_step(stage), observed(now=31, states=RUNNING))
    assert (decision.action, decision.text) == (Action.FAIL, f"{stage.value}: not within 30 s")


def test_an_instance_of_another_registry_is_back_when_it_answers():
    own = steps(Step(task("a", listed=False), Stage.RETURNING))
    assert decided(own, observed(states=RUNNING, answering=("a",))) == [Decision("a", Action.UNDRAIN)]
    own = steps(Step(task("a", listed=False), Stage.ROUTING))
    assert decided(own, observed(states=RUNNING)) == [Decision("a", Action.FINISH)]


ASLEEP = {"a:server": "STOPPED", "a:babysitter": "RUNNING"}


def asleep(**more: Any) -> dict[str, Any]:
    return service("m", healthy=False, status="asleep", **more)


@pytest.mark.parametrize("stage", [Stage.RETURNING, Stage.ROUTING])
def test_an_instance_on_demand_is_done_when_it_is_registered_as_asleep(stage):
    step = Step(task("a", on_demand=True), stage)
    done = Action.UNDRAIN if stage is Stage.RETURNING else Action.FINISH
    assert [d.action for d in decide(steps(step), observed(1, ASLEEP, a=asleep()), LIMITS)] == [done]
    starting = observed(1, {**ASLEEP, "a:babysitter": "STARTING"}, a=service("m", healthy=False, status="stopped"))
    assert decide(steps(step), starting, LIMITS) == []


def test_an_instance_on_demand_that_was_awake_is_done_when_it_is_awake_again():
    step = Step(task("a", on_demand=True, wakes=True), Stage.RETURNING)
    assert decide(steps(step), observed(1, ASLEEP, a=asleep()), LIMITS) == []
    running = dict.fromkeys(ASLEEP, "RUNNING")
    back = decide(steps(step), observed(1, running, ("a",), a=service("m")), LIMITS)
    assert [decision.action for decision in back] == [Action.UNDRAIN]


def test_a_failed_start_of_long_ago_does_not_stop_the_rollout_of_an_instance_that_stays_asleep():
    step = Step(task("a", on_demand=True), Stage.RETURNING)
    failed = {**ASLEEP, "a:server": "FATAL"}
    assert decide(steps(step), observed(1, failed, a=service("m", healthy=False, status="starting")), LIMITS) == []
    awake = Step(task("a", on_demand=True, wakes=True), Stage.RETURNING)
    assert [d.action for d in decide(steps(awake), observed(1, failed, a=asleep()), LIMITS)] == [Action.FAIL]
