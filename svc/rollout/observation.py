"""What a rollout sees at one moment, and what follows from that alone. Pure."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

Flight = Mapping[str, tuple[bool, int]]  # a router's instances: whether it gets requests, and how many it serves


@dataclasses.dataclass(frozen=True, slots=True)
class Scene:
    """What is seen at one moment; `services` is None, and a flight, where there is no answer."""

    now: float
    services: Mapping[str, Mapping[str, Any]] | None  # the registry's
    flights: Sequence[Flight | None]  # of each router
    states: Mapping[str, str]  # supervisord's, by program
    well: Collection[str] = ()  # names of those that are waited for whose babysitter says that they answer


def healthy(instance: str, scene: Scene) -> bool:
    """By the registry."""
    return bool((scene.services or {}).get(instance, {}).get("is_healthy"))


def used(instance: str, scene: Scene) -> bool:
    """By every router that answers."""
    return all(flight is None or flight.get(instance, (False, 0))[0] for flight in scene.flights)


def serving(instance: str, scene: Scene) -> bool:
    """Somebody to rely on."""
    return healthy(instance, scene) and used(instance, scene)


def strangers(instances: Collection[str], scene: Scene) -> list[int]:
    """The routers, by their place, that know none of these although the registry calls some of them healthy."""
    there = [instance for instance in instances if healthy(instance, scene)]
    return [
        place
        for place, flight in enumerate(scene.flights)
        if there and flight is not None and not any(instance in flight for instance in there)
    ]


def in_flight(instance: str, flights: Sequence[Flight | None]) -> int | None:
    """Requests begun at all routers, at least one where one may come yet; None where that cannot be told."""
    count = 0
    for flight in flights:
        if flight is None:
            return None
        used, serves = flight.get(instance, (False, 0))
        count += max(serves, int(used))
    return count
