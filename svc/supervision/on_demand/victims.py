"""Decides which instances give way, and when: they are put to sleep so that another one gets their memory. Pure.

The instance that needs memory on GPUs is the candidate; an instance that holds some is a resident.

1. A resident gives way only if it is on demand, its babysitter reports, and the number of its requests is known.
2. It does not give way while it loads, has been awake for less than `min_awake`, has `keep`, or is to stay awake for a
   rule or an operator.
3. An idle resident gives way. Of several, the first is the one whose next load is expected to cost least: its share of
   the last uses on the host, multiplied by its load time. One that became idle less than BETWEEN_REQUESTS_SECONDS ago
   comes after these. If the one that has been idle longest came first, a site with independent requests would load a
   fifth more often.
4. An idle resident that was used a short time ago stays for a while. Otherwise two users of two instances, who think
   between their requests, would have an instance loaded for each request.
5. A busy resident goes on serving while it has more requests than `stay_factor` times the seconds for which the
   candidate has been waited for. So a load serves many requests, and yet the candidate's wait is bounded.
6. A resident that has begun to give way to a candidate goes on, even if requests for it arrive meanwhile.
"""

import enum
from typing import NamedTuple

from svc.supervision.on_demand.host import Instance

BETWEEN_REQUESTS_SECONDS = 5.0  # an instance that has been idle for less may be in the middle of a conversation
# The next two are multiples of the cost of loading the resident again: its load time, divided by the setting
# `stay_factor`.
STAY_LOADS = 2.0  # a resident that has been idle for longer is not expected to be used again soon
MAX_WAIT_LOADS = 3.0  # a candidate that has been waited for longer does not wait for a resident that is idle
MAX_LOAD_COST_SECONDS = 40.0  # maximum load time in this calculation, so that no candidate waits for minutes
MIN_STAY_FACTOR = 0.1  # minimum divisor in this calculation


class Timing(enum.IntEnum):
    """When an instance gives way."""

    LEAVING = 0  # it is stopping already
    NOW = 1
    LATER = 2
    NEVER = 3


class Answer(NamedTuple):
    """When an instance gives way, and why not earlier."""

    timing: Timing
    reason: str


def gives_way(resident: Instance, candidate: Instance, stay_factor: float) -> Answer:
    """Return when `resident` gives way to `candidate`, and why not earlier."""
    if not resident.holds_memory:
        return Answer(Timing.NEVER, "is loaded first")
    if resident.phase == "stopping":
        return Answer(Timing.LEAVING, "stopping")
    if must_sleep(resident):
        return Answer(Timing.NOW, "is put to sleep")
    if reason := _permanent_reason(resident):
        return Answer(Timing.NEVER, reason)
    if resident.phase == "restarting":
        return Answer(Timing.NOW, "restarting after a failure")
    if resident.phase == "loading":
        return Answer(Timing.NOW if resident.is_stuck else Timing.LATER, "loading")
    if resident.phase_seconds < resident.program.min_awake:
        return Answer(Timing.LATER, f"awake since {resident.phase_seconds:.0f} s, at least {_min_awake(resident)} s")
    if resident.releasing_for == candidate.name:
        return Answer(Timing.NOW, "busy" if resident.queue else "idle")
    if resident.queue > stay_factor * candidate.waited_seconds:
        return Answer(Timing.LATER, "busy")
    if stay_seconds(resident, candidate, stay_factor) > 0:
        return Answer(Timing.LATER, "used a moment ago")
    return Answer(Timing.NOW, "busy" if resident.queue else "idle")


def stay_seconds(resident: Instance, candidate: Instance, stay_factor: float) -> float:
    """Return the seconds for which a resident stays because it was used a short time ago; 0 if it may give way.

    After each use, the resident may stay for as long again.
    """
    cost = min(resident.load_seconds, MAX_LOAD_COST_SECONDS) / max(stay_factor, MIN_STAY_FACTOR)
    return max(0.0, min(STAY_LOADS * cost - resident.idle_seconds, MAX_WAIT_LOADS * cost - candidate.waited_seconds))


def preference(resident: Instance, timing: Timing, candidate: Instance) -> tuple[float | str | bool, ...]:
    """Return the sort key of a victim: the smallest gives way first."""
    return (
        timing,
        resident.releasing_for != candidate.name,
        resident.queue > 0,
        resident.idle_seconds < BETWEEN_REQUESTS_SECONDS,
        resident.use_share * resident.load_seconds,
        -resident.idle_seconds,
        resident.name,
    )


def must_sleep(instance: Instance) -> bool:
    """Return whether an instance has to be put to sleep although no other one needs its memory."""
    is_asked = instance.facts is not None and instance.facts.sleep and not instance.demand.waiting
    phases = ("awake",) if instance.program.sleeps_running else ("loading", "awake")  # a wake is not interrupted
    return is_asked and instance.program.on_demand and instance.phase in phases


def _permanent_reason(resident: Instance) -> str:
    if not resident.program.on_demand:
        return "always on"
    if resident.program.keep:
        return "keep = true"
    if resident.facts is None:
        return "its babysitter does not report"
    if resident.demand.hold > 0:
        return "kept awake"
    if resident.facts.in_flight is None and resident.phase == "awake":
        return "its requests cannot be counted"
    return ""


def _min_awake(resident: Instance) -> str:
    return f"{resident.program.min_awake:g}"
