"""The last healthy instance of a model: which models lose every instance while a rollout is at work. Pure.

`svc plan` warns of these models. `svc apply` and `svc rollout restart` refuse to begin, and each stop of an instance
is decided by the same rule again, with what is observed then.
"""

import dataclasses
from collections.abc import Collection, Iterable

from svc.rollout.observation import RolloutObservation, is_healthy, is_serving
from svc.rollout.tasks import InstanceOperation, RolloutStage, Step


@dataclasses.dataclass(frozen=True, slots=True)
class Loss:
    """A model that would be left without a healthy instance."""

    model: str
    instance: str  # the last healthy one that serves it
    forever: bool  # the instance is removed


def lost_models(step: Step, observation: RolloutObservation, without: Collection[str] = ()) -> list[str]:
    """Return the models that no other instance serves while this one is stopped.

    An instance counts that is healthy in the registry, on any host, and used by every router that answers: one that
    a router has ejected does not count. `without` are services that do not count either, because they stop as well.
    """
    service_name = step.task.service_name
    service = observation.service(service_name)
    if service is None or not (is_healthy(service_name, observation) or step.owns_drain):
        return []  # it serves nothing, whether or not a router uses it
    stopped = {service_name, *without}
    served = {
        model
        for name in observation.services or {}
        if name not in stopped and is_serving(name, observation)
        for model in observation.models(name)
    }
    return [model for model in observation.models(service_name) if model not in served]


def losses(steps: Iterable[Step], observation: RolloutObservation) -> list[Loss]:
    """Return the models that would lose their last healthy instance if the rollout began now.

    Instances restart one after the other and are removed last. So a restarted instance relies on any other that
    serves, a removed one on those that stay. An instance that serves nothing now, and that this rollout starts
    again first, counts with the models that it listed.
    """
    steps = list(steps)
    removed = {step.task.service_name for step in steps if step.task.operation is InstanceOperation.REMOVE}
    returning = {
        model for step in _returning(steps, observation) for model in observation.models(step.task.service_name)
    }
    return [
        Loss(model, step.task.name, forever)
        for step in steps
        if step.stage is RolloutStage.WAITING and step.task.operation.stops
        for forever in (step.task.operation is InstanceOperation.REMOVE,)
        for model in lost_models(step, observation, removed if forever else ())
        if model not in returning
    ]


def refused_losses(steps: Iterable[Step], observation: RolloutObservation) -> list[Loss]:
    """Return the losses that a rollout refuses before anything moves.

    There are none while an instance is to start whose models nobody knows yet: it may bring the missing model. If
    it does not, the rollout stops before it drains the last healthy instance.
    """
    steps = list(steps)
    unknown = any(not observation.models(step.task.service_name) for step in _returning(steps, observation))
    return [] if unknown else losses(steps, observation)


def last_instance_text(models: Iterable[str]) -> str:
    return f"it is the last healthy instance of {', '.join(models)}"


def _returning(steps: Iterable[Step], observation: RolloutObservation) -> list[Step]:
    """Return the steps of instances that serve nothing now, and that the rollout starts; not those of the operator."""
    return [
        step
        for step in steps
        if step.task.operation is not InstanceOperation.REMOVE
        and not is_serving(step.task.service_name, observation)
        and (step.owns_drain or not (observation.service(step.task.service_name) or {}).get("drained"))
    ]
