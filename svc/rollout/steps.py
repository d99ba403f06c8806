"""Decides the next actions of a rollout from an observation. Pure: `rollout_engine` observes and acts.

                       +----+ hand over
                       |    v
    WAITING --drain--> DRAINING --stop--> STOPPING --change--> RETURNING --undrain--> ROUTING --finish--> DONE
       ^                  |
       +--cancel drain----+     an instance that does not come back: FAILED, and no further instance is drained

An instance that is only started (added, or left stopped) goes from WAITING directly to RETURNING. A removed instance
goes from STOPPING directly to DONE. `rollout_engine` has one method for each action.
"""

import dataclasses
import enum
from collections.abc import Collection, Iterable, Iterator, Mapping

from svc.protocol.service import ASLEEP
from svc.rollout.availability import last_instance_text, lost_models
from svc.rollout.handover_text import handover_text
from svc.rollout.observation import RolloutObservation, is_serving, requests_in_flight
from svc.rollout.tasks import InstanceOperation, RolloutLimits, RolloutStage, Step, Task

STATES_ENDED = ("STOPPED", "EXITED", "FATAL")
STATES_FAILED = ("BACKOFF", "FATAL")
STAGES_OUT_OF_SERVICE = (
    RolloutStage.DRAINING,
    RolloutStage.STOPPING,
    RolloutStage.RETURNING,
    RolloutStage.ROUTING,
)
ORDER = {
    InstanceOperation.FINISH: 0,
    InstanceOperation.ADD: 1,
    InstanceOperation.RESTART: 2,
    InstanceOperation.REPLACE: 2,
    InstanceOperation.REMOVE: 3,
}


class RolloutAction(enum.Enum):
    DRAIN = enum.auto()
    HAND_OVER = enum.auto()
    CANCEL_DRAIN = enum.auto()
    STOP = enum.auto()
    CHANGE = enum.auto()
    UNDRAIN = enum.auto()
    FINISH = enum.auto()
    FAIL = enum.auto()


@dataclasses.dataclass(frozen=True, slots=True)
class Decision:
    """The next action on the instance `name`. `program` is the program that has failed, or ""."""

    name: str
    action: RolloutAction
    text: str = ""
    program: str = ""


Steps = Mapping[str, Step]  # name of the instance -> step


def decide(
    steps: Steps, observation: RolloutObservation, limits: RolloutLimits, halted: bool = False
) -> list[Decision]:
    """Return the next actions in their order. If `halted`, cancel all drains and begin no further instance."""
    decisions = [decision for step in steps.values() if (decision := _decide_step(step, observation, limits, halted))]
    if not halted and not any(decision.action is RolloutAction.CANCEL_DRAIN for decision in decisions):
        decisions += _begin_waiting(steps, observation, limits)
    return decisions


def ordered(tasks: Iterable[Task], observation: RolloutObservation) -> list[Task]:
    """Return the tasks in the order in which they begin.

    Instances that an earlier rollout left unfinished come first, then additions, then restarts and replacements, then
    removals. Within each of these classes, the instances that serve nothing now come first.
    """
    return sorted(
        tasks,
        key=lambda task: (ORDER[task.operation], is_serving(task.service_name, observation), task.name),
    )


def progress_text(step: Step, observation: RolloutObservation) -> str:
    """Return the stage of a step as a text for the operator."""
    if step.stage is RolloutStage.DRAINING:
        count = requests_in_flight(step.task.service_name, observation.routers)
        in_flight = "no answer from the router" if count is None else f"{count} in flight"
        handover = handover_text(step, observation) if count else ""
        return "; ".join(filter(None, (f"draining: {in_flight}", handover)))
    if step.stage is RolloutStage.WAITING and (lost := lost_models(step, observation)):
        return f"waiting: {last_instance_text(lost)}"
    return step.stage.value


def _begin_waiting(steps: Steps, observation: RolloutObservation, limits: RolloutLimits) -> Iterator[Decision]:
    """Yield the first action of each waiting instance that may begin now.

    1. At most `parallel` instances are out of service at once.
    2. An instance that needs a port of a second instance waits until the second instance is done.
    3. No instance is drained while the registry does not answer.
    4. The last healthy instance of a model is not drained.

    An instance that may not begin waits, because an instance on another host may become healthy again. If no instance
    of this rollout is out of service meanwhile, the first waiting instance fails: at once if no other instance lists
    the model, else after `timeout`.
    """
    waiting = [step for step in steps.values() if step.stage is RolloutStage.WAITING]
    free = limits.parallel - sum(step.stage in STAGES_OUT_OF_SERVICE for step in steps.values())  # rule 1
    begun: list[str] = []
    refusal, hopeless = "", False
    for step in waiting:
        if len(begun) >= free:
            return
        task = step.task
        if any(name in steps and steps[name].stage is not RolloutStage.DONE for name in task.after):
            continue  # rule 2
        if task.operation.stops and task.listed and not limits.allow_downtime:
            if observation.services is None:
                refusal = refusal or "the registry does not answer"
                continue  # rule 3
            if lost := lost_models(step, observation, begun):
                refusal = refusal or f"{last_instance_text(lost)}; --allow-downtime lets it go"
                hopeless = hopeless or not _listed_elsewhere(lost, task.service_name, observation)
                continue  # rule 4
        begun.append(task.service_name)
        yield Decision(task.name, RolloutAction.DRAIN if task.operation.stops else RolloutAction.CHANGE)
    waited = observation.now - max((step.since for step in steps.values()), default=observation.now)
    if (
        refusal
        and not begun
        and (waited > limits.timeout or hopeless)
        and not any(step.stage in STAGES_OUT_OF_SERVICE for step in steps.values())
    ):
        yield Decision(waiting[0].task.name, RolloutAction.FAIL, refusal)


def _listed_elsewhere(lost: Collection[str], service_name: str, observation: RolloutObservation) -> bool:
    """Return whether other instances list all of the `lost` models, although they do not serve them now."""
    names = set(observation.services or {}) - {service_name}
    return set(lost) <= {model for name in names for model in observation.models(name)}


def _decide_step(step: Step, observation: RolloutObservation, limits: RolloutLimits, halted: bool) -> Decision | None:
    name = step.task.name
    seconds = observation.now - step.since
    if step.stage is RolloutStage.DRAINING:
        return _after_drain(step, observation, limits, halted)
    if step.stage is RolloutStage.STOPPING:
        states = [observation.program_states.get(program, "STOPPED") for program in step.task.programs]
        if all(state in STATES_ENDED for state in states):
            return Decision(name, RolloutAction.CHANGE)
        late = f"it does not stop within {limits.timeout:g} s"
        return Decision(name, RolloutAction.FAIL, late) if seconds > limits.timeout else None
    if step.stage in (RolloutStage.RETURNING, RolloutStage.ROUTING):
        for program in step.task.started_programs:
            if observation.program_states.get(program) in STATES_FAILED:
                return Decision(name, RolloutAction.FAIL, "it does not come back", program)
        if step.stage is RolloutStage.RETURNING and _answers(step, observation):
            return Decision(name, RolloutAction.UNDRAIN)
        if step.stage is RolloutStage.ROUTING and _is_routed(step, observation):
            return Decision(name, RolloutAction.FINISH)
        if seconds > limits.timeout:
            return Decision(name, RolloutAction.FAIL, f"{step.stage.value}: not within {limits.timeout:g} s")
    return None


def _after_drain(step: Step, observation: RolloutObservation, limits: RolloutLimits, halted: bool) -> Decision | None:
    """Return the action that follows a drain, or None to wait.

    1. The drain is cancelled if the rollout is halted, or if the instance has become the last healthy instance of a
       model, for example because an instance on another host has failed.
    2. The instance stops when it has no request in flight.
    3. After `drain_timeout`, the instance stops, and its requests are cut. If a router does not answer, so that the
       requests are unknown, the rollout fails instead.
    4. After `handover`, routers are asked to move streams to other instances. A drain mark of the operator stays as it
       is.
    """
    name = step.task.name
    if halted or (not limits.allow_downtime and step.owns_drain and lost_models(step, observation)):
        return Decision(name, RolloutAction.CANCEL_DRAIN)  # rule 1
    count = requests_in_flight(step.task.service_name, observation.routers)
    if count == 0:
        return Decision(name, RolloutAction.STOP)  # rule 2
    waited = observation.now - step.since
    if waited <= limits.drain_timeout:
        if (
            limits.handover is None
            or waited < limits.handover
            or not step.owns_drain
            or step.handover_since is not None
        ):
            return None
        reason = f"its streams move to other instances now, after {waited:.0f} s"
        return Decision(name, RolloutAction.HAND_OVER, reason)  # rule 4
    if count is None:
        reason = f"a router has not answered for {limits.drain_timeout:g} s: what is in flight?"
        return Decision(name, RolloutAction.FAIL, reason)
    return Decision(name, RolloutAction.STOP, f"{count} requests cut after {limits.drain_timeout:g} s")  # rule 3


def _answers(step: Step, observation: RolloutObservation) -> bool:
    """Return whether an instance answers, according to its babysitter and to the registry, if the registry lists it."""
    task = step.task
    service = observation.service(task.service_name) or {}
    running = all(observation.program_states.get(program) == "RUNNING" for program in task.started_programs)
    if running and task.sleeps and (not task.listed or service.get("status") == ASLEEP):
        return True
    if not running or task.name not in observation.answering:
        return False
    if not task.listed:
        return True
    listed = bool(observation.models(step.task.service_name))
    return service.get("status") == "running" and service.get("health_status") != "unhealthy" and listed


def _is_routed(step: Step, observation: RolloutObservation) -> bool:
    """Return whether every router uses an instance.

    Also return True if no router will use it: the operator has drained it, it is asleep, or the command's registry does
    not list it.
    """
    if not step.task.listed:
        return True
    if observation.services is None:
        return False
    service = observation.service(step.task.service_name) or {}
    if service.get("drained") or (step.task.sleeps and service.get("status") == ASLEEP):
        return True
    return None not in observation.routers and is_serving(step.task.service_name, observation)
