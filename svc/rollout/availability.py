"""Finds models that would lose their last healthy instance during a rollout. Pure.

`svc plan` warns of these models. `svc apply` and `svc rollout restart` refuse to begin if there are any. They apply the
same rule to a new observation before they stop an instance.
"""

import dataclasses
from collections.abc import Collection, Iterable

from svc.rollout.observation import RolloutObservation, is_asleep, is_healthy, is_serving, is_waking
from svc.rollout.tasks import InstanceOperation, RolloutStage, Step


@dataclasses.dataclass(frozen=True, slots=True)
class Loss:
    """A model that would lose its last healthy instance."""

    model: str
    instance: str  # the last healthy instance that serves the model
    forever: bool  # whether the rollout removes the instance


def lost_models(step: Step, observation: RolloutObservation, without: Collection[str] = ()) -> list[str]:
    """Return the models that no other instance serves while the step's instance is stopped.

    The other instances may be on any host, but must be healthy in the registry and used by every router that answers,
    and so not ejected. The services in `without` do not count, because they stop as well.

    An instance that is asleep serves nothing until it has loaded, so it does not take the place of one that serves. If
    the step's instance itself is asleep, its restart loses no model. If it is removed, another instance must have its
    models, but that one may be asleep, too. A step's instance that is waking counts as serving its models, because
    requests wait for it.
    """
    service_name = step.task.service_name
    service = observation.service(service_name)
    wakes = step.task.operation is InstanceOperation.REMOVE and is_asleep(service_name, observation)
    has_models = is_healthy(service_name, observation) or is_waking(service_name, observation)
    if service is None or not (has_models or step.owns_drain or wakes):
        return []  # an unhealthy instance counts as serving nothing, even if a router uses it
    stopped = {service_name, *without}
    served = {
        model
        for name in observation.services or {}
        if name not in stopped and (is_serving(name, observation) or (wakes and is_asleep(name, observation)))
        for model in observation.models(name)
    }
    return [model for model in observation.models(service_name) if model not in served]


def losses(steps: Iterable[Step], observation: RolloutObservation) -> list[Loss]:
    """Return the models that would lose their last healthy instance if the rollout began now.

    Instances restart one after the other, and removals come last. So any other serving instance can take the place of
    one that restarts. Only an instance that stays can take the place of one that is removed. The rollout first starts
    the instances that serve nothing now. So it loses none of the models that the registry lists for these.
    """
    steps = list(steps)
    removed = {step.task.service_name for step in steps if step.task.operation is InstanceOperation.REMOVE}
    returning = _returning(steps, observation)
    return [
        Loss(model, step.task.name, forever)
        for step in steps
        if step.stage is RolloutStage.WAITING and step.task.operation.stops
        for forever in (step.task.operation is InstanceOperation.REMOVE,)
        for model in lost_models(step, observation, removed if forever else ())
        if not _returns(model, step, returning, observation)
    ]


def refused_losses(steps: Iterable[Step], observation: RolloutObservation) -> list[Loss]:
    """Return the losses for which a rollout is refused before it begins.

    Return [] if the rollout starts an instance with unknown models, because that instance may turn out to serve the
    lost model. If it does not, the rollout stops before it drains the last healthy instance.
    """
    steps = list(steps)
    unknown = any(not observation.models(step.task.service_name) for step in _returning(steps, observation))
    return [] if unknown else losses(steps, observation)


def last_instance_text(models: Iterable[str]) -> str:
    return f"it is the last healthy instance of {', '.join(models)}"


def _returns(model: str, step: Step, returning: Iterable[Step], observation: RolloutObservation) -> bool:
    """Return whether one of the steps that start an instance brings the model.

    If the instance of `step` is waking, another one has to: requests wait for it, and would fail when it restarts.
    """
    others = [s for s in returning if s is not step or not is_waking(step.task.service_name, observation)]
    return any(model in observation.models(other.task.service_name) for other in others)


def _returning(steps: Iterable[Step], observation: RolloutObservation) -> list[Step]:
    """Return the steps that start an instance which serves nothing now, unless an operator has drained it."""
    return [
        step
        for step in steps
        if step.task.operation is not InstanceOperation.REMOVE
        and not is_serving(step.task.service_name, observation)
        and (step.owns_drain or not (observation.service(step.task.service_name) or {}).get("drained"))
    ]
