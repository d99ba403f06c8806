"""Which instances give way to another one that is wanted: when, in which order, and why not. Pure.

1. An instance gives way only if it is on demand, its babysitter reports, and the number of its requests is known.
2. It never gives way while it is kept (`keep`), held awake, or awake for less than `min_awake`, or while it loads.
3. An idle instance gives way at once. The first is one that has been idle for more than a moment, and that will cost
   least to load again: its share of the last uses on the host, multiplied by its load time. By time alone (the one that
   has been idle longest), a site with independent requests loads a fifth more often.
4. A busy instance serves its queue as one batch: it gives way when the number of its requests is at most
   `stay_factor` times the seconds for which the other one has been waited for. So waiting is bounded.
5. An instance that has begun to give way to another one goes on, even if requests for it arrive meanwhile.
"""

import enum
from typing import NamedTuple

from svc.supervision.on_demand.host import Instance

BETWEEN_REQUESTS_SECONDS = (
    5.0  # an instance that has been idle for a shorter time may be in the middle of a conversation
)


class Readiness(enum.IntEnum):
    """When an instance gives way."""

    LEAVING = 0  # it is stopping already
    NOW = 1
    LATER = 2
    NEVER = 3


class Answer(NamedTuple):
    """When an instance gives way, and the reason in words."""

    readiness: Readiness
    reason: str


def gives_way(resident: Instance, candidate: Instance, stay_factor: float) -> Answer:
    """Return when `resident` gives way to `candidate`, and why not earlier."""
    if not resident.holds_memory:
        return Answer(Readiness.NEVER, "is loaded first")
    if resident.phase == "stopping":
        return Answer(Readiness.LEAVING, "stopping")
    if is_put_to_sleep(resident):
        return Answer(Readiness.NOW, "is put to sleep")
    if reason := _permanent_reason(resident):
        return Answer(Readiness.NEVER, reason)
    if resident.phase == "restarting":
        return Answer(Readiness.NOW, "restarting after a failure")
    if resident.phase == "loading":
        return Answer(Readiness.LATER, "loading")
    if resident.phase_seconds < resident.program.min_awake:
        return Answer(Readiness.LATER, f"awake since {resident.phase_seconds:.0f} s, at least {_min_awake(resident)} s")
    if resident.queue == 0 or resident.releasing_for == candidate.name:
        return Answer(Readiness.NOW, "idle")
    if resident.queue <= stay_factor * candidate.waited_seconds:
        return Answer(Readiness.NOW, "busy")
    return Answer(Readiness.LATER, "busy")


def preference(resident: Instance, readiness: Readiness, candidate: Instance) -> tuple[float | str | bool, ...]:
    """Return the sort key of a victim: the smallest gives way first."""
    idle_seconds = resident.facts.idle_seconds if resident.facts and resident.queue == 0 else 0.0
    return (
        readiness,
        resident.releasing_for != candidate.name,
        resident.queue > 0,
        idle_seconds < BETWEEN_REQUESTS_SECONDS,
        resident.use_share * resident.load_seconds,
        -idle_seconds,
        resident.name,
    )


def is_put_to_sleep(instance: Instance) -> bool:
    """Return whether an instance has to go to sleep although no other one wants its place."""
    wishes = instance.facts is not None and instance.facts.sleep and not instance.demand.waiting
    return wishes and instance.program.on_demand and instance.phase in ("loading", "awake")


def _permanent_reason(resident: Instance) -> str:
    if not resident.program.on_demand:
        return "always on"
    if resident.program.keep:
        return "kept awake"
    if resident.facts is None:
        return "its babysitter does not report"
    if resident.demand.hold > 0:
        return "held awake"
    if resident.facts.in_flight is None and resident.phase == "awake" and resident.facts.status != "starting":
        return "its requests cannot be counted"
    return ""


def _min_awake(resident: Instance) -> str:
    return f"{resident.program.min_awake:g}"
