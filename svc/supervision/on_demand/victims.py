"""Which instances give way to another one that is wanted: when, in which order, and why not. Pure.

1. An instance gives way only if it is on demand, its babysitter reports, and the number of its requests is known.
2. It never gives way while it is kept (`keep`), held awake, or awake for less than `min_awake`, or while it loads.
3. An idle instance gives way. The first is one that has been idle for more than a moment, and that will cost least to
   load again: its share of the last uses on the host, multiplied by its load time. By time alone (the one that has been
   idle longest), a site with independent requests loads a fifth more often.
4. An instance that was used a moment ago stays for a while, although it is idle: else two users, who think between
   their requests, would have it loaded for each of them.
5. A busy instance serves its queue as one batch: it gives way when the number of its requests is at most
   `stay_factor` times the seconds for which the other one has been waited for. So waiting is bounded.
6. An instance that has begun to give way to another one goes on, even if requests for it arrive meanwhile.
"""

import enum
from typing import NamedTuple

from svc.supervision.on_demand.host import Instance

BETWEEN_REQUESTS_SECONDS = 5.0  # an instance that was idle for less may be in the middle of a conversation
# Multiples of the time that the resident needs to load again, which is what its leaving costs; the setting
# `stay_factor` divides them.
STAY_LOADS = 2.0  # a resident that was idle for longer is not expected to be used again soon
MAX_WAIT_LOADS = 3.0  # a candidate that has been waited for longer does not wait for that any more
MAX_LOAD_COST_SECONDS = 40.0  # longer loads count as so long, so that nothing waits for minutes
MIN_STAY_FACTOR = 0.1  # a smaller one divides like this


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
    if must_sleep(resident):
        return Answer(Readiness.NOW, "is put to sleep")
    if reason := _permanent_reason(resident):
        return Answer(Readiness.NEVER, reason)
    if resident.phase == "restarting":
        return Answer(Readiness.NOW, "restarting after a failure")
    if resident.phase == "loading":
        return Answer(Readiness.NOW if resident.is_stuck else Readiness.LATER, "loading")
    if resident.phase_seconds < resident.program.min_awake:
        return Answer(Readiness.LATER, f"awake since {resident.phase_seconds:.0f} s, at least {_min_awake(resident)} s")
    if resident.releasing_for == candidate.name:
        return Answer(Readiness.NOW, "idle")
    if resident.queue > stay_factor * candidate.waited_seconds:
        return Answer(Readiness.LATER, "busy")
    if stay_seconds(resident, candidate, stay_factor) > 0:
        return Answer(Readiness.LATER, "used a moment ago")
    return Answer(Readiness.NOW, "busy" if resident.queue else "idle")


def stay_seconds(resident: Instance, candidate: Instance, stay_factor: float) -> float:
    """Return for how long a resident that was used a moment ago stays, if it is not used again; 0 if it can leave."""
    cost = min(resident.load_seconds, MAX_LOAD_COST_SECONDS) / max(stay_factor, MIN_STAY_FACTOR)
    return max(0.0, min(STAY_LOADS * cost - resident.idle_seconds, MAX_WAIT_LOADS * cost - candidate.waited_seconds))


def preference(resident: Instance, readiness: Readiness, candidate: Instance) -> tuple[float | str | bool, ...]:
    """Return the sort key of a victim: the smallest gives way first."""
    return (
        readiness,
        resident.releasing_for != candidate.name,
        resident.queue > 0,
        resident.idle_seconds < BETWEEN_REQUESTS_SECONDS,
        resident.use_share * resident.load_seconds,
        -resident.idle_seconds,
        resident.name,
    )


def must_sleep(instance: Instance) -> bool:
    """Return whether an instance has to go to sleep although no other one wants its place."""
    is_asked = instance.facts is not None and instance.facts.sleep and not instance.demand.waiting
    phases = ("awake",) if instance.program.sleeps_running else ("loading", "awake")  # a wake is not interrupted
    return is_asked and instance.program.on_demand and instance.phase in phases


def _permanent_reason(resident: Instance) -> str:
    if not resident.program.on_demand:
        return "always on"
    if resident.program.keep:
        return "kept awake"
    if resident.facts is None:
        return "its babysitter does not report"
    if resident.demand.hold > 0:
        return "held awake"
    if resident.facts.in_flight is None and resident.phase == "awake":
        return "its requests cannot be counted"
    return ""


def _min_awake(resident: Instance) -> str:
    return f"{resident.program.min_awake:g}"
