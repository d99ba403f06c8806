"""When a site is up: what each component waits for. Pure: `up` looks, this judges."""

import dataclasses
import enum
from collections.abc import Collection, Mapping, Sequence

from svc.site.components import Component, shares_registry

FAILED = ("BACKOFF", "FATAL")


class Stage(enum.Enum):
    STARTING = "starting"
    HEALTH = "waiting for its health"
    REGISTERED = "waiting for its registry to take it"
    ROUTED = "waiting for the router to see its models"
    MISCONFIGURED = "needs a setting to be changed"
    READY = "ready"
    FAILED = "failed"


@dataclasses.dataclass(frozen=True, slots=True)
class NotReady:
    """Why an engine, or a registration, is not ready. `misconfigured`: waiting does not make it ready."""

    reason: str
    misconfigured: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Sight:
    """What is seen at one moment."""

    states: Mapping[str, str]  # supervisord's, by program
    well: Collection[str]  # names of the components whose health is good
    routed: Mapping[str, Sequence[str]]  # models that the router sends requests for, by instance
    not_ready: Mapping[str, NotReady] = dataclasses.field(default_factory=dict)  # by the name of the component
    refused: Mapping[str, NotReady] = dataclasses.field(default_factory=dict)  # why its registry does not take it

    def reason(self, component: Component) -> str:
        """Return why a component is not ready, as far as its babysitter says it."""
        found = self.refused.get(component.name) if component.name in self.well else self.not_ready.get(component.name)
        return found.reason if found else ""


def judge(component: Component, sight: Sight, router: Component | None) -> tuple[Stage, str]:
    """How far a component is, and the program that the stage is about where it is one.

    1. A program that ended and is to be started again, or was given up, has failed.
    2. All its programs must run; 3. its health be good, or one day become it; 4. its registry take it; 5. the router,
       where it is one that can know of it, send requests to it.
    """
    states = {name: sight.states.get(name, "missing") for name in component.programs}
    for name, state in states.items():
        if state in FAILED:
            return Stage.FAILED, name  # 1
    for name, state in states.items():
        if state != "RUNNING":
            return Stage.STARTING, name  # 2
    if component.name not in sight.well:
        engine = sight.not_ready.get(component.name)
        return (Stage.MISCONFIGURED if engine and engine.misconfigured else Stage.HEALTH), ""  # 3
    if refusal := sight.refused.get(component.name):
        return (Stage.MISCONFIGURED if refusal.misconfigured else Stage.REGISTERED), ""  # 4
    expected = router is not None and component.kind == "babysitter" and shares_registry(router, component)
    if expected and not sight.routed.get(component.service_name):
        return Stage.ROUTED, ""  # 5
    return Stage.READY, ""
