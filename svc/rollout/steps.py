"""A rollout's decisions: what is seen of the instances -> what to do now. Pure: `engine` looks and acts.

    WAITING --take--> DRAINING --stop--> STOPPING --change--> RETURNING --undrain--> ROUTING --finish--> DONE
       ^                 |
       +---give back-----+        what does not come back: FAILED, and nothing more is taken

What is added, or only started, goes from WAITING to RETURNING; what is removed, from STOPPING to DONE.
"""

import dataclasses
import enum
from collections.abc import Collection, Iterable, Iterator, Mapping

from svc.protocol.instance_names import instance_service
from svc.protocol.service import listed_models
from svc.rollout.observation import Scene, healthy, in_flight, serving

ENDED = ("STOPPED", "EXITED", "FATAL")
NOT_BACK = ("BACKOFF", "FATAL")


class Act(enum.Enum):
    """What is done to an instance while it serves nothing."""

    RESTART = "restart"
    REPLACE = "replace"  # by supervisord's new reading of its file
    REMOVE = "remove"
    ADD = "add"
    START = "finish"  # what a rollout that died has left of it

    @property
    def ends(self) -> bool:
        """Whether what runs is stopped for it."""
        return self in (Act.RESTART, Act.REPLACE, Act.REMOVE)


class Stage(enum.Enum):
    WAITING = "waiting"
    DRAINING = "draining"
    STOPPING = "stopping"
    RETURNING = "waiting until it answers"
    ROUTING = "waiting until the router has it"
    DONE = "done"
    FAILED = "failed"


OUT = (Stage.DRAINING, Stage.STOPPING, Stage.RETURNING, Stage.ROUTING)


class Do(enum.Enum):
    TAKE = enum.auto()
    GIVE_BACK = enum.auto()
    STOP = enum.auto()
    CHANGE = enum.auto()
    UNDRAIN = enum.auto()
    FINISH = enum.auto()
    FAIL = enum.auto()


@dataclasses.dataclass(frozen=True, slots=True)
class Task:
    name: str
    act: Act
    programs: tuple[str, ...]  # as supervisorctl names them
    listed: bool = True  # whether the registry that is asked knows of it
    after: frozenset[str] = frozenset()  # the tasks that must be done before, because it needs their ports

    @property
    def instance(self) -> str:
        return instance_service(self.name)


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """How far a task is; `since` when, in the scene's seconds. `ours`: the drain mark on it is this rollout's."""

    task: Task
    stage: Stage = Stage.WAITING
    since: float = 0.0
    ours: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    parallel: int = 1
    drain_timeout: float = 1800  # seconds until what is still in flight is cut
    timeout: float = 600  # seconds until it must be back
    allow_downtime: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Move:
    """`program`: the one that a failure is about, where it is one's."""

    name: str
    do: Do
    text: str = ""
    program: str = ""


Steps = Mapping[str, Step]


def moves(steps: Steps, scene: Scene, limits: Limits, halted: bool = False) -> list[Move]:
    """What to do now, in this order. `halted`: nothing more is taken, and what is only draining is given back."""
    found = [move for step in steps.values() if (move := _next(step, scene, limits, halted))]
    if not halted:
        leaving = [move.name for move in found if move.do is Do.GIVE_BACK]
        found += _takes(steps, scene, limits) if not leaving else []
    return found


def lost(step: Step, scene: Scene, gone: Collection[str] = ()) -> list[str]:
    """The models that nobody would serve without this instance; `gone`: others that are as good as out."""
    services = scene.services or {}
    mine = services.get(step.task.instance)
    if mine is None or not (healthy(step.task.instance, scene) or step.ours):
        return []  # it serves nothing: what a router makes of it does not matter here
    out = {step.task.instance, *gone}
    there = {
        m for name, told in services.items() if name not in out and serving(name, scene) for m in listed_models(told)
    }
    return [model for model in listed_models(mine) if model not in there]


def hopeless(steps: Steps, scene: Scene) -> dict[str, list[str]]:
    """The instances that cannot go without downtime, before anything moves, with the models that nobody would serve.

    One that is out of order counts, if this rollout is to bring it back first; where that has never told what it
    serves, or where instances are added, only their coming tells.
    """
    hoped: set[str] = set()
    for step in steps.values():
        told = (scene.services or {}).get(step.task.instance, {})
        if step.task.act is Act.REMOVE or serving(step.task.instance, scene):
            continue
        if step.ours or not told.get("drained"):
            if not listed_models(told):
                return {}
            hoped.update(listed_models(told))
    found = {name: [m for m in lost(step, scene) if m not in hoped] for name, step in steps.items() if _stops(step)}
    return {name: without for name, without in found.items() if without}


def ordered(tasks: Iterable[Task], scene: Scene) -> list[Task]:
    """What is begun is finished first; then those that come, those that serve nothing now, the others, who leaves."""

    def turn(task: Task) -> tuple[int, bool, str]:
        first = {Act.START: 0, Act.ADD: 1, Act.REMOVE: 3}.get(task.act, 2)
        return first, serving(task.instance, scene), task.name

    return sorted(tasks, key=turn)


def doing(step: Step, scene: Scene) -> str:
    """The stage in words."""
    if step.stage is Stage.DRAINING:
        count = in_flight(step.task.instance, scene.flights)
        return "draining: " + ("no answer from the router" if count is None else f"{count} in flight")
    if step.stage is Stage.WAITING and (without := lost(step, scene)):
        return f"waiting: {last(without)}"
    return step.stage.value


def last(lost: Iterable[str]) -> str:
    return f"it is the last healthy instance of {', '.join(lost)}"


def _stops(step: Step) -> bool:
    return step.stage is Stage.WAITING and step.task.act.ends


def _takes(steps: Steps, scene: Scene, limits: Limits) -> Iterator[Move]:
    """Who may go now.

    1. `parallel` at most are out at once; 2. who needs the port of another waits for it;
    3. nobody goes while the registry does not answer; 4. nor the last one of a model.

    Who may not go waits, for an instance of another host may come back; not where nobody else has the model.
    """
    waiting = [step for step in steps.values() if step.stage is Stage.WAITING]
    free = limits.parallel - sum(step.stage in OUT for step in steps.values())  # 1
    gone: list[str] = []
    refused, vain = "", False
    for step in waiting:
        if len(gone) >= free:
            return
        task = step.task
        if any(name in steps and steps[name].stage is not Stage.DONE for name in task.after):
            continue  # 2
        if task.act.ends and task.listed and not limits.allow_downtime:
            if scene.services is None:
                refused = refused or "the registry does not answer"
                continue  # 3
            if without := lost(step, scene, gone):
                refused = refused or f"{last(without)}; --allow-downtime lets it go"
                vain = vain or not _elsewhere(without, task.instance, scene)
                continue  # 4
        gone.append(task.instance)
        yield Move(task.name, Do.TAKE if task.act.ends else Do.CHANGE)
    late = scene.now - max((step.since for step in steps.values()), default=scene.now) > limits.timeout
    if refused and not gone and (late or vain) and not any(step.stage in OUT for step in steps.values()):
        yield Move(waiting[0].task.name, Do.FAIL, refused)


def _elsewhere(without: Collection[str], instance: str, scene: Scene) -> bool:
    """Whether each of these models is another's too, who does not serve it now."""
    others = {m for name, told in (scene.services or {}).items() if name != instance for m in listed_models(told)}
    return set(without) <= others


def _next(step: Step, scene: Scene, limits: Limits, halted: bool) -> Move | None:
    name = step.task.name
    took = scene.now - step.since
    if step.stage is Stage.DRAINING:
        return _drained(step, scene, limits, halted)
    if step.stage is Stage.STOPPING:
        if all(scene.states.get(program, "STOPPED") in ENDED for program in step.task.programs):
            return Move(name, Do.CHANGE)
        return Move(name, Do.FAIL, f"it does not stop within {limits.timeout:g} s") if took > limits.timeout else None
    if step.stage in (Stage.RETURNING, Stage.ROUTING):
        for program in step.task.programs:
            if scene.states.get(program) in NOT_BACK:
                return Move(name, Do.FAIL, "it does not come back", program)
        if step.stage is Stage.RETURNING and _answers(step, scene):
            return Move(name, Do.UNDRAIN)
        if step.stage is Stage.ROUTING and _routed(step, scene):
            return Move(name, Do.FINISH)
        if took > limits.timeout:
            return Move(name, Do.FAIL, f"{step.stage.value}: not within {limits.timeout:g} s")
    return None


def _drained(step: Step, scene: Scene, limits: Limits, halted: bool) -> Move | None:
    """1. Another left meanwhile, on another host perhaps: it is needed. 2. Nothing is in flight. 3. Time is over."""
    name = step.task.name
    if halted or (not limits.allow_downtime and step.ours and lost(step, scene)):
        return Move(name, Do.GIVE_BACK)  # 1
    count = in_flight(step.task.instance, scene.flights)
    if count == 0:
        return Move(name, Do.STOP)  # 2
    if scene.now - step.since <= limits.drain_timeout:
        return None
    if count is None:
        return Move(name, Do.FAIL, f"a router has not answered for {limits.drain_timeout:g} s: what is in flight?")
    return Move(name, Do.STOP, f"{count} requests cut after {limits.drain_timeout:g} s")  # 3


def _answers(step: Step, scene: Scene) -> bool:
    """By its babysitter, and by the registry where that knows it."""
    running = all(scene.states.get(program) == "RUNNING" for program in step.task.programs)
    if not running or step.task.name not in scene.well:
        return False
    if not step.task.listed:
        return True
    told = (scene.services or {}).get(step.task.instance, {})
    return told.get("status") == "running" and told.get("health_status") != "unhealthy" and bool(listed_models(told))


def _routed(step: Step, scene: Scene) -> bool:
    """Every router uses it; nobody uses what an operator has drained."""
    if not step.task.listed:
        return True
    if scene.services is None:
        return False
    return bool(scene.services.get(step.task.instance, {}).get("drained")) or (
        None not in scene.flights and serving(step.task.instance, scene)
    )
