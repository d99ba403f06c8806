"""Decides whether a site is ready, and for what each component still waits. Pure: `observe` collects the facts."""

import dataclasses
import enum
from collections.abc import Collection, Mapping, Sequence

from svc.site.components import Component, shares_registry

FAILED_STATES = ("BACKOFF", "FATAL")  # states in supervisord
UNSEEN = "unknown"  # the state that a babysitter reports before it has seen its instance


class ReadinessStage(enum.Enum):
    """The stage of a component that is becoming ready; the value is the text that users see."""

    STARTING = "starting"
    HEALTH = "waiting for its health"
    REGISTERED = "waiting for its registry to take it"
    ROUTED = "waiting for the router to see its models"
    MISCONFIGURED = "needs a setting to be changed"
    READY = "ready"
    FAILED = "failed"


@dataclasses.dataclass(frozen=True, slots=True)
class NotReady:
    """Why a component is not ready, or is refused by the registry.

    `misconfigured` means that this lasts until a setting is changed.
    """

    reason: str
    misconfigured: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class SiteObservation:
    """The state of supervisord, the components and the router at one moment.

    `not_ready` maps the names of components that are not ready for a known reason, such as an engine that still loads,
    to the reason. `refused` maps the names of components that the registry refuses to the reason. `drained` has the
    names of components that an operator has drained. `on_demand` has the state of each on-demand instance whose
    babysitter answers.
    """

    states: Mapping[str, str]  # full name of a program -> its state in supervisord
    healthy: Collection[str]  # names of the components whose health check passes
    routed: Mapping[str, Sequence[str]]  # service name of an instance that the router uses -> its models
    not_ready: Mapping[str, NotReady] = dataclasses.field(default_factory=dict)
    refused: Mapping[str, NotReady] = dataclasses.field(default_factory=dict)
    drained: Collection[str] = ()
    on_demand: Mapping[str, str] = dataclasses.field(default_factory=dict)
    listed: Collection[str] = ()  # service names of all instances in the router's list

    def reason(self, component: Component) -> str:
        """Return the reported reason why a component is not ready; "" if none is known."""
        is_refused = component.name in self.healthy or component.on_demand
        reasons = self.refused if is_refused else self.not_ready
        return reasons[component.name].reason if component.name in reasons else ""


def readiness(
    component: Component, observation: SiteObservation, router: Component | None
) -> tuple[ReadinessStage, str]:
    """Return the stage of a component, and the program that delays it, or "".

    1. A component has failed if one of its programs waits for a restart (BACKOFF), or was given up by supervisord
    (FATAL).
    2. All programs of the component must run.
    3. The health check must pass, which is impossible while the component is misconfigured.
    4. The registry must accept the registration.
    5. If the router uses the same registry and the instance is not drained, the router must send requests to it.

    For an instance on demand, see `_on_demand_readiness`.
    """
    if component.on_demand:
        return _on_demand_readiness(component, observation, router)
    states = {name: observation.states.get(name, "missing") for name in component.programs}
    for name, state in states.items():
        if state in FAILED_STATES:
            return ReadinessStage.FAILED, name  # rule 1
    for name, state in states.items():
        if state != "RUNNING":
            return ReadinessStage.STARTING, name  # rule 2
    if component.name not in observation.healthy:
        engine = observation.not_ready.get(component.name)
        is_misconfigured = engine is not None and engine.misconfigured
        return (ReadinessStage.MISCONFIGURED if is_misconfigured else ReadinessStage.HEALTH), ""  # rule 3
    if refusal := observation.refused.get(component.name):
        return (ReadinessStage.MISCONFIGURED if refusal.misconfigured else ReadinessStage.REGISTERED), ""  # rule 4
    expected = router is not None and component.kind == "babysitter" and shares_registry(router, component)
    if expected and not observation.routed.get(component.service_name) and component.name not in observation.drained:
        return ReadinessStage.ROUTED, ""  # rule 5
    return ReadinessStage.READY, ""


def _on_demand_readiness(
    component: Component, observation: SiteObservation, router: Component | None
) -> tuple[ReadinessStage, str]:
    """Return the stage of an on-demand instance. It is ready when a request can wake it, even if no model is loaded.

    1. Its babysitter must run and answer. Whether its server runs does not matter, nor how its last start ended.
    2. The registry must accept the registration.
    3. If the router uses the same registry, it must list the instance.
    """
    state = observation.states.get(component.babysitter_program, "missing")
    if state in FAILED_STATES:
        return ReadinessStage.FAILED, component.babysitter_program  # rule 1
    if state != "RUNNING":
        return ReadinessStage.STARTING, component.babysitter_program  # rule 1
    is_seen = observation.on_demand.get(component.name, UNSEEN) != UNSEEN
    if not is_seen and component.name not in observation.healthy:
        return ReadinessStage.HEALTH, ""  # rule 1
    if refusal := observation.refused.get(component.name):
        return (ReadinessStage.MISCONFIGURED if refusal.misconfigured else ReadinessStage.REGISTERED), ""  # rule 2
    if router is not None and shares_registry(router, component) and component.service_name not in observation.listed:
        return ReadinessStage.ROUTED, ""  # rule 3
    return ReadinessStage.READY, ""


def ready_text(component: Component, observation: SiteObservation) -> str:
    """Return the text that `svc up` prints for a component that is ready."""
    state = observation.on_demand.get(component.name, "running")
    if component.on_demand and state != "running":
        return f"{state}: a request wakes it, at {component.url}"
    is_drained = component.name in observation.drained
    drained = f", drained: no requests until `svc undrain {component.name}`" if is_drained else ""
    return f"ready at {component.url}{drained}"
