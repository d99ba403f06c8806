"""Which models nobody would serve while instances restart, by what the registry says of all hosts. Pure."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from svc.protocol.instance_names import instance_service
from svc.protocol.service import listed_models
from svc.rollout.diff import PartChange, Way


@dataclasses.dataclass(frozen=True, slots=True)
class Loss:
    model: str
    instance: str  # the last healthy one that serves it
    forever: bool  # it goes for good


def losses(changes: Iterable[PartChange], services: Iterable[Mapping[str, Any]]) -> list[Loss]:
    """One instance after the other restarts, so that any other healthy one that stays will do."""
    serving = {str(service["name"]): listed_models(service) for service in services if service.get("is_healthy")}
    going = [change for change in changes if change.interrupts]
    gone = {instance_service(change.name) for change in going if change.way is Way.REMOVE}
    found = []
    for change in going:
        own = instance_service(change.name)
        others = {m for name, told in serving.items() if name != own and name not in gone for m in told}
        forever = change.way is Way.REMOVE
        found += [Loss(m, change.name, forever) for m in serving.get(own, ()) if m not in others]
    return found
