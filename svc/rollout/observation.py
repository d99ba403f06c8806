"""The state of supervisord, the registry and the routers at one moment, and questions about it. Pure."""

import dataclasses
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from svc.protocol.service import ASLEEP, listed_models

# Service name -> whether the router uses the instance, and how many requests the router has in flight there.
RouterInstances = Mapping[str, tuple[bool, int]]
# Service name -> {MOVING, or the reason why requests stay at an instance that hands over: number of requests}.
RouterHandovers = Mapping[str, Mapping[str, int]]
MOVING = "moving"


@dataclasses.dataclass(frozen=True, slots=True)
class RolloutObservation:
    """What supervisord, the registry and the routers report at one moment.

    `services` is None if the registry did not answer. An item of `routers` is None if that router did not answer.
    """

    now: float
    services: Mapping[str, Mapping[str, Any]] | None  # name -> entry in the registry's list
    routers: Sequence[RouterInstances | None]
    program_states: Mapping[str, str]  # full name of a program -> state in supervisord
    answering: Collection[str] = ()  # instances that answer, according to their babysitters
    handovers: Sequence[RouterHandovers] = ()  # one for each router that answered

    def service(self, name: str) -> Mapping[str, Any] | None:
        """Return the registry's entry of a service, or None if the registry lists no such service."""
        return (self.services or {}).get(name)

    def models(self, service_name: str) -> list[str]:
        """Return the models of a service in the registry's list."""
        return listed_models(self.service(service_name) or {})


def is_healthy(service_name: str, observation: RolloutObservation) -> bool:
    """Return whether the registry lists a service as healthy."""
    return bool((observation.service(service_name) or {}).get("is_healthy"))


def is_asleep(service_name: str, observation: RolloutObservation) -> bool:
    """Return whether the registry lists an instance as asleep, and no operator has drained it."""
    service = observation.service(service_name) or {}
    return service.get("status") == ASLEEP and not service.get("drained")


def is_waking(service_name: str, observation: RolloutObservation) -> bool:
    """Return whether an instance on demand starts and has not failed to, so that requests may wait for it."""
    service = observation.service(service_name) or {}
    metadata = service.get("metadata") or {}
    is_starting = service.get("status") == "starting" and not service.get("drained")
    return is_starting and metadata.get("on_demand") is True and not metadata.get("restart_reason")


def is_used(service_name: str, observation: RolloutObservation) -> bool:
    """Return whether every router that answers uses an instance, that is, sends requests to it."""
    return all(router is None or router.get(service_name, (False, 0))[0] for router in observation.routers)


def is_serving(service_name: str, observation: RolloutObservation) -> bool:
    """Return whether an instance is healthy in the registry and used by every router that answers."""
    return is_healthy(service_name, observation) and is_used(service_name, observation)


def routers_without(service_names: Collection[str], observation: RolloutObservation) -> list[int]:
    """Return the indices of the routers that answer and list none of these instances.

    Instances that are not healthy in the registry are ignored. If no instance is healthy, return [].
    """
    healthy = [name for name in service_names if is_healthy(name, observation)]
    return [
        index
        for index, router in enumerate(observation.routers)
        if healthy and router is not None and not any(name in router for name in healthy)
    ]


def requests_in_flight(service_name: str, routers: Sequence[RouterInstances | None]) -> int | None:
    """Return how many requests all routers together have in flight at an instance; None if a router does not answer.

    A router that still uses the instance counts as one request even if it has none in flight, because it may send a
    request at any time.
    """
    count = 0
    for router in routers:
        if router is None:
            return None
        used, in_flight = router.get(service_name, (False, 0))
        count += max(in_flight, int(used))
    return count


def handover_counts(service_name: str, observation: RolloutObservation) -> Counter[str]:
    """Return how many requests at an instance move to other instances, and how many stay, by reason, in all routers."""
    counts = Counter[str]()
    for router in observation.handovers:
        counts.update(router.get(service_name, {}))
    return counts
