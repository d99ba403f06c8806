"""When a site is ready: what each component still waits for. Pure: `observe` asks, this module judges."""

import dataclasses
import enum
from collections.abc import Collection, Mapping, Sequence

from svc.site.components import Component, shares_registry

FAILED_STATES = ("BACKOFF", "FATAL")  # supervisord's


class ReadinessStage(enum.Enum):
    """How far a component is on its way to being ready; the value is the text that users see."""

    STARTING = "starting"
    HEALTH = "waiting for its health"
    REGISTERED = "waiting for its registry to take it"
    ROUTED = "waiting for the router to see its models"
    MISCONFIGURED = "needs a setting to be changed"
    READY = "ready"
    FAILED = "failed"


@dataclasses.dataclass(frozen=True, slots=True)
class NotReady:
    """Why an engine is not ready, or the registry refuses it. `misconfigured`: waiting does not cure it."""

    reason: str
    misconfigured: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Observation:
    """What supervisord, the components and the router report at one moment."""

    states: Mapping[str, str]  # supervisord's state of each program
    healthy: Collection[str]  # names of the components whose health check passes
    routed: Mapping[str, Sequence[str]]  # models that the router sends requests for, by instance
    not_ready: Mapping[str, NotReady] = dataclasses.field(default_factory=dict)  # engines, by component name
    refused: Mapping[str, NotReady] = dataclasses.field(default_factory=dict)  # registrations, by component name

    def reason(self, component: Component) -> str:
        """Return why a component is not ready, as far as its babysitter reports it."""
        reasons = self.refused if component.name in self.healthy else self.not_ready
        return reasons[component.name].reason if component.name in reasons else ""


def readiness(component: Component, observation: Observation, router: Component | None) -> tuple[ReadinessStage, str]:
    """Return how far a component is, and the program that holds it up if one does.

    1. A program that ended and is to be started again, or was given up, has failed.
    2. All its programs must run.
    3. Its health check must pass; it never will while the engine is misconfigured.
    4. Its registry must take it.
    5. The router, if it uses the same registry, must send requests to it.
    """
    states = {name: observation.states.get(name, "missing") for name in component.programs}
    for name, state in states.items():
        if state in FAILED_STATES:
            return ReadinessStage.FAILED, name  # 1
    for name, state in states.items():
        if state != "RUNNING":
            return ReadinessStage.STARTING, name  # 2
    if component.name not in observation.healthy:
        engine = observation.not_ready.get(component.name)
        return (ReadinessStage.MISCONFIGURED if engine and engine.misconfigured else ReadinessStage.HEALTH), ""  # 3
    if refusal := observation.refused.get(component.name):
        return (ReadinessStage.MISCONFIGURED if refusal.misconfigured else ReadinessStage.REGISTERED), ""  # 4
    expected = router is not None and component.kind == "babysitter" and shares_registry(router, component)
    if expected and not observation.routed.get(component.service_name):
        return ReadinessStage.ROUTED, ""  # 5
    return ReadinessStage.READY, ""
