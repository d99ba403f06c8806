"""What a rollout decides, from what it sees."""

import dataclasses
from typing import Any

import pytest

from svc.rollout.observation import Scene, strangers
from svc.rollout.steps import Act, Do, Limits, Move, Stage, Step, Task, hopeless, lost, moves, ordered

LIMITS = Limits(drain_timeout=60, timeout=30)


def task(name: str, act: Act = Act.RESTART, **more: Any) -> Task:
    return Task(name, act, (f"{name}:server", f"{name}:babysitter"), **more)


def steps(*made: Step) -> dict[str, Step]:
    return {step.task.name: step for step in made}


def waiting(*names: str) -> dict[str, Step]:
    return steps(*(Step(task(name)) for name in names))


def service(*models: str, healthy: bool = True, **more: Any) -> dict[str, Any]:
    told = {"status": "running", "health_status": "healthy", "drained": False, "is_healthy": healthy}
    return {**told, "metadata": {"models": list(models)}, **more}


DRAINED = {"drained": True, "healthy": False}


def scene(now: float = 0, states: dict[str, str] | None = None, well: tuple[str, ...] = (), **services: Any) -> Scene:
    """Services by the names of their babysitters; the router uses who is healthy."""
    told = {f"{name}-server": what for name, what in services.items()}
    flight = {name: (what["is_healthy"], 0) for name, what in told.items()}
    return Scene(now, told, [flight], states or {}, well)


def busy(seen: Scene, **counts: int) -> Scene:
    (flight,) = seen.flights
    assert flight is not None
    more = {f"{name}-server": (flight[f"{name}-server"][0], count) for name, count in counts.items()}
    return dataclasses.replace(seen, flights=[{**flight, **more}])


def names(found: list[Move], do: Do) -> list[str]:
    return [move.name for move in found if move.do is do]


# Who may go.


def test_one_goes_at_a_time():
    seen = scene(a=service("m"), b=service("m"), c=service("m"))
    assert moves(waiting("a", "b", "c"), seen, LIMITS) == [Move("a", Do.TAKE)]
    out = {**waiting("b", "c"), **steps(Step(task("a"), Stage.RETURNING))}
    assert moves(out, scene(a=service("m", **DRAINED), b=service("m"), c=service("m")), LIMITS) == []


def test_several_go_at_once_but_never_all_of_a_model():
    seen = scene(a=service("m"), b=service("m"), c=service("n"), d=service("n"))
    found = moves(waiting("a", "b", "c", "d"), seen, dataclasses.replace(LIMITS, parallel=4))
    assert names(found, Do.TAKE) == ["a", "c"]


def test_the_last_healthy_one_waits_and_fails_in_the_end():
    seen = scene(a=service("m"), b=service("m", healthy=False))
    assert moves(waiting("a"), seen, LIMITS) == [], "b may come back"
    (move,) = moves(waiting("a"), dataclasses.replace(seen, now=31), LIMITS)
    assert (move.do, move.text) == (Do.FAIL, "it is the last healthy instance of m; --allow-downtime lets it go")
    assert moves(waiting("a"), seen, dataclasses.replace(LIMITS, allow_downtime=True)) == [Move("a", Do.TAKE)]


def test_the_last_one_that_has_a_model_at_all_is_not_waited_for():
    """As where the others were changed to serve another: nobody will come."""
    (move,) = moves(waiting("a"), scene(a=service("old"), b=service("new")), LIMITS)
    assert (move.do, move.text) == (Do.FAIL, "it is the last healthy instance of old; --allow-downtime lets it go")
    going = {**waiting("a"), **steps(Step(task("b"), Stage.RETURNING))}
    assert moves(going, scene(a=service("old"), b=service("new", **DRAINED)), LIMITS) == [], "b is waited for first"


def test_an_instance_that_a_router_does_not_use_is_nobody_to_rely_on():
    seen = scene(a=service("m"), b=service("m"))
    ejected = dataclasses.replace(seen, flights=[*seen.flights, {"a-server": (True, 0), "b-server": (False, 0)}])
    assert lost(Step(task("a")), seen) == []
    assert lost(Step(task("a")), ejected) == ["m"]


def test_what_a_router_does_not_use_goes_by_the_registrys_word_all_the_same():
    """Else the wrong router would make every instance one that may go."""
    seen = dataclasses.replace(scene(a=service("m"), b=service("m")), flights=[{}])
    assert lost(Step(task("a")), seen) == ["m"]
    assert strangers(["a-server"], seen) == [0]
    assert strangers(["a-server"], scene(a=service("m", healthy=False))) == []
    assert strangers(["a-server", "new-server"], scene(a=service("m"))) == []


def test_each_model_of_an_instance_counts():
    assert lost(Step(task("a")), scene(a=service("m", "n"), b=service("m"))) == ["n"]


def test_what_serves_nothing_may_go_at_any_time():
    seen = scene(a=service("m", healthy=False, status="failed"))
    assert moves(waiting("a"), seen, LIMITS) == [Move("a", Do.TAKE)]


def test_nobody_goes_while_the_registry_does_not_answer():
    silent = Scene(0, None, [], {})
    assert moves(waiting("a"), silent, LIMITS) == []
    (move,) = moves(waiting("a"), dataclasses.replace(silent, now=31), LIMITS)
    assert (move.do, move.text) == (Do.FAIL, "the registry does not answer")


def test_who_needs_the_port_of_another_waits_for_it():
    both = steps(Step(task("a", after=frozenset({"b"}))), Step(task("b")))
    seen = scene(a=service("m"), b=service("n"), c=service("m", "n"))
    assert moves(both, seen, LIMITS) == [Move("b", Do.TAKE)]
    assert moves({**both, "b": Step(task("b"), Stage.DONE)}, seen, LIMITS) == [Move("a", Do.TAKE)]


def test_what_is_added_is_only_started():
    assert moves(steps(Step(task("a", Act.ADD))), scene(), LIMITS) == [Move("a", Do.CHANGE)]


# Beforehand.


def test_hopeless_is_the_last_healthy_instance_of_a_model():
    assert hopeless(waiting("a", "b"), scene(a=service("m"), b=service("m", "n"))) == {"b": ["n"]}
    assert hopeless(waiting("a"), scene(a=service("m"), b=service("m", healthy=False))) == {"a": ["m"]}


def test_there_is_hope_where_the_rollout_itself_may_bring_another():
    sick = service("m", healthy=False, status="failed")
    assert hopeless(waiting("a", "b"), scene(a=service("m"), b=sick)) == {}
    assert hopeless(waiting("a", "b"), scene(a=service("m"), b=service(healthy=False))) == {}, "nobody knows of b"
    assert hopeless(steps(Step(task("a")), Step(task("b", Act.ADD))), scene(a=service("m"))) == {}
    assert hopeless(waiting("a", "b"), scene(a=service("m"), b=service("m", **DRAINED))) == {"a": ["m"]}


def test_the_order_begins_with_what_is_unfinished_new_or_out_of_order():
    tasks = [task("gone", Act.REMOVE), task("a"), task("sick"), task("new", Act.ADD), task("left", Act.START)]
    seen = scene(gone=service("m"), a=service("m"), sick=service("m", healthy=False))
    assert [found.name for found in ordered(tasks, seen)] == ["left", "new", "sick", "a", "gone"]


# One instance's way.


def one(stage: Stage, act: Act = Act.RESTART, ours: bool = True) -> dict[str, Step]:
    return steps(Step(task("a", act), stage, 0, ours))


RUNNING = {"a:server": "RUNNING", "a:babysitter": "RUNNING"}


def test_drained_it_is_stopped_when_nothing_is_in_flight_and_the_router_has_heard():
    seen = scene(a=service("m", **DRAINED), b=service("m"))
    assert moves(one(Stage.DRAINING), busy(seen, a=1), LIMITS) == []
    unheard = dataclasses.replace(seen, flights=[{"a-server": (True, 0), "b-server": (True, 0)}])
    assert moves(one(Stage.DRAINING), unheard, LIMITS) == []
    two = dataclasses.replace(seen, flights=[*seen.flights, {"a-server": (False, 2)}])
    assert moves(one(Stage.DRAINING), two, dataclasses.replace(LIMITS, allow_downtime=True)) == [], "another router"
    assert moves(one(Stage.DRAINING), seen, LIMITS) == [Move("a", Do.STOP)]


def test_what_is_in_flight_after_the_limit_is_cut_and_said():
    seen = busy(scene(now=61, a=service("m", **DRAINED), b=service("m")), a=3)
    assert moves(one(Stage.DRAINING), seen, LIMITS) == [Move("a", Do.STOP, "3 requests cut after 60 s")]


def test_nothing_is_cut_of_which_nobody_knows():
    seen = dataclasses.replace(scene(now=61, a=service("m", **DRAINED), b=service("m")), flights=[None])
    (move,) = moves(one(Stage.DRAINING), seen, LIMITS)
    assert move.do is Do.FAIL


def test_it_is_given_back_when_the_other_one_left_meanwhile():
    seen = scene(a=service("m", **DRAINED), b=service("m", healthy=False))
    assert moves(one(Stage.DRAINING), seen, LIMITS) == [Move("a", Do.GIVE_BACK)]
    assert moves(one(Stage.DRAINING, ours=False), seen, LIMITS) == [Move("a", Do.STOP)], "an operator's drain"


@pytest.mark.parametrize("stage", [Stage.WAITING, Stage.DRAINING])
def test_once_one_has_failed_nothing_more_is_taken(stage: Stage):
    seen = scene(a=service("m", **(DRAINED if stage is Stage.DRAINING else {})), b=service("m"))
    found = moves(one(stage), seen, LIMITS, halted=True)
    assert [move.do for move in found] == ([Do.GIVE_BACK] if stage is Stage.DRAINING else [])


def test_it_is_changed_when_all_of_it_has_ended():
    ending = {"a:server": "STOPPING", "a:babysitter": "STOPPED"}
    assert moves(one(Stage.STOPPING), scene(states=ending), LIMITS) == []
    assert moves(one(Stage.STOPPING), scene(states=dict.fromkeys(ending, "STOPPED")), LIMITS) == [Move("a", Do.CHANGE)]
    assert moves(one(Stage.STOPPING), scene(), LIMITS) == [Move("a", Do.CHANGE)], "supervisord has it no more"
    (move,) = moves(one(Stage.STOPPING), scene(now=31, states=ending), LIMITS)
    assert (move.do, move.text) == (Do.FAIL, "it does not stop within 30 s")


def test_it_is_undrained_when_it_the_registry_and_supervisord_say_that_it_serves():
    there = {"states": RUNNING, "well": ("a",)}
    assert moves(one(Stage.RETURNING), scene(**there, a=service("m", **DRAINED)), LIMITS) == [Move("a", Do.UNDRAIN)]
    for seen in (
        scene(states=RUNNING, a=service("m", **DRAINED)),
        scene(**there, a=service("m", status="starting", **DRAINED)),
        scene(**there, a=service(**DRAINED)),
        scene(**there),
        scene(states={**RUNNING, "a:server": "STARTING"}, well=("a",), a=service("m", **DRAINED)),
    ):
        assert moves(one(Stage.RETURNING), seen, LIMITS) == []


def test_it_is_done_when_every_router_uses_it_or_an_operator_has_drained_it():
    seen = scene(states=RUNNING, a=service("m"))
    assert moves(one(Stage.ROUTING), seen, LIMITS) == [Move("a", Do.FINISH)]
    for flight in (None, {"a-server": (False, 0)}):
        unheard = dataclasses.replace(seen, flights=[*seen.flights, flight])
        assert moves(one(Stage.ROUTING), unheard, LIMITS) == []
    drained = scene(states=RUNNING, a=service("m", **DRAINED))
    assert moves(one(Stage.ROUTING, ours=False), drained, LIMITS) == [Move("a", Do.FINISH)]


@pytest.mark.parametrize("stage", [Stage.RETURNING, Stage.ROUTING])
def test_what_ends_again_or_takes_too_long_has_failed(stage: Stage):
    for state in ("BACKOFF", "FATAL"):
        (move,) = moves(one(stage), scene(states={**RUNNING, "a:server": state}), LIMITS)
        assert (move.do, move.text, move.program) == (Do.FAIL, "it does not come back", "a:server")
    (move,) = moves(one(stage), scene(now=31, states=RUNNING), LIMITS)
    assert (move.do, move.text) == (Do.FAIL, f"{stage.value}: not within 30 s")


def test_an_instance_of_another_registry_is_back_when_it_answers():
    own = steps(Step(task("a", listed=False), Stage.RETURNING))
    assert moves(own, scene(states=RUNNING, well=("a",)), LIMITS) == [Move("a", Do.UNDRAIN)]
    own = steps(Step(task("a", listed=False), Stage.ROUTING))
    assert moves(own, scene(states=RUNNING), LIMITS) == [Move("a", Do.FINISH)]
