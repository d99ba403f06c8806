"""Decides what each instance of a host has to do now. Pure.

1. The candidates are the instances that are wanted and not awake. The one that has been waited for longest comes first.
2. At most `parallel_loads` instances load at once.
3. In this order, each candidate gets GPUs and claims memory on them, so that later candidates do not take what others
   free for it. A candidate for which there are no GPUs claims nothing. After MAX_CLAIMS claims, the others wait.
4. A candidate starts when no instance holds the claimed memory any more, and a new reading of the GPUs shows that this
   memory is really free.
"""

import dataclasses
from collections.abc import Iterable
from typing import Literal

from svc.base.byte_size import size_text
from svc.supervision.on_demand.host import Host, Instance
from svc.supervision.on_demand.instance_facts import GpuReading
from svc.supervision.on_demand.memory import Room, needed
from svc.supervision.on_demand.placement import Placement, Placer
from svc.supervision.on_demand.victims import Timing, must_sleep

READING_TIMEOUT_SECONDS = 15.0  # without a reading for so long, an instance starts as if there were no vendor's tool
MAX_CLAIMS = 4
READING_VALID_SECONDS = 5.0  # an older reading is repeated before instances give way, or a wake fails, because of it


@dataclasses.dataclass(frozen=True, slots=True)
class InstanceDecision:
    """The order for an instance (see `instance_facts.Order`), or `start`: its program has to be started on `gpus`."""

    action: Literal["stay", "wait", "measure", "release", "wake", "start"]
    reason: str = ""
    gpus: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """The decisions for all instances. `releasing` maps each instance that gives way to the one it gives way to."""

    decisions: dict[str, InstanceDecision]
    releasing: dict[str, str]


class Planner:
    """Makes the plan of a host, one candidate after the other."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.now = Room(host)  # the memory that instances hold now
        self.next = Room(host)  # the memory that they will hold once the victims are asleep and the candidates run
        self.decisions = {name: _default_decision(instance) for name, instance in host.instances.items()}
        self.releasing: dict[str, str] = {}
        loading = [
            i for i in host.instances.values() if i.phase == "loading" and i.program.on_demand and not i.is_stuck
        ]
        self.claims = 0
        self.slots = host.parallel_loads - len(loading)
        self.first = ", ".join(i.short_name for i in loading)  # names of the instances that load before the others

    def plan(self) -> Plan:
        """Decide for one candidate after the other, and return all decisions."""
        for candidate in candidates(self.host):
            self.decisions[candidate.name] = self._decide(candidate)
        return Plan(self.decisions, self.releasing)

    def _decide(self, candidate: Instance) -> InstanceDecision:
        if candidate.pause_seconds > 0:
            return InstanceDecision("wait", f"{candidate.failure}; another try in {candidate.pause_seconds:.0f} s")
        if self.claims >= MAX_CLAIMS:
            return InstanceDecision("wait", "others have been waited for longer")
        can_measure = _can_measure(candidate) and candidate.program.has_resources
        if can_measure and not self.host.measured:
            return self._measure(candidate, "reads the memory of the GPUs")
        placement = Placer(self.host, self.next, candidate).place()
        has_begun = any(victim.releasing_for == candidate.name for victim in placement.victims)
        if can_measure and not has_begun and depends_on_old_reading(self.host, placement, READING_VALID_SECONDS):
            return self._measure(candidate, placement.reason)
        if placement.timing == Timing.NEVER:
            return InstanceDecision("wait", placement.reason)
        self.claims += 1
        for victim in placement.victims:
            self.next.remove(victim)
        self.next.add(candidate, placement.gpus)
        if placement.timing == Timing.LATER:
            return InstanceDecision("wait", placement.reason)
        if placement.victims:
            return self._make_room(candidate, placement)
        return self._start(candidate, placement.gpus)

    def _make_room(self, candidate: Instance, placement: Placement) -> InstanceDecision:
        victims = [victim for victim in placement.victims if victim.phase != "stopping"]
        is_quick = not any(victim.queue for victim in victims)
        has_begun = any(victim.releasing_for == candidate.name for victim in victims)
        if self.slots <= 0 and is_quick and not has_begun:
            return InstanceDecision("wait", f"{self.first} loads first")
        for victim in victims:
            self.decisions[victim.name] = InstanceDecision("release", f"gives way to {candidate.short_name}")
            self.releasing[victim.name] = candidate.name
        if is_quick:
            self._take_slot(candidate)
        names = ", ".join(map(_with_delay, placement.victims))
        return InstanceDecision("wait", f"{names} gives way; {placement.reason}")

    def _start(self, candidate: Instance, gpus: tuple[int, ...]) -> InstanceDecision:
        if self.slots <= 0:
            return InstanceDecision("wait", f"{self.first} loads first")
        self._take_slot(candidate)
        if not self.now.has_room(candidate.program, gpus):
            return InstanceDecision("wait", "others give way to it")
        if gpus and _can_measure(candidate):
            if candidate.facts is None or candidate.facts.gpus is None:
                return InstanceDecision("measure", "reads the memory of the GPUs")
            if shortage := _measured_shortage(candidate, candidate.facts.gpus, gpus):
                return InstanceDecision("measure", shortage)
        self.now.add(candidate, gpus)
        return InstanceDecision("wake" if candidate.phase == "asleep" else "start", "", gpus)

    def _measure(self, candidate: Instance, reason: str) -> InstanceDecision:
        if self.slots <= 0:
            return InstanceDecision("wait", f"{self.first} loads first")
        self._take_slot(candidate)
        return InstanceDecision("measure", reason)

    def _take_slot(self, candidate: Instance) -> None:
        self.slots -= 1
        self.first = ", ".join(filter(None, (self.first, candidate.short_name)))


def depends_on_old_reading(host: Host, placement: Placement, valid_seconds: float) -> bool:
    """Return whether a new reading of the GPUs could lead to a placement with fewer victims, or to one at all.

    This is so if the last reading is older than `valid_seconds`: memory of other processes may have become free since,
    and a GPU that the vendor's tool did not list may have come back.
    """
    if placement.timing == Timing.LEAVING:
        return False
    memories = [host.gpus[gpu] for gpu in placement.gpus or host.gpus if gpu in host.gpus]
    is_impossible = placement.timing == Timing.NEVER
    return any(m.measured_seconds > valid_seconds and (m.foreign or is_impossible) for m in memories)


def candidates(host: Host) -> list[Instance]:
    """Return the instances that are wanted and can be started, the one that has been waited for longest first."""
    wanted = [i for i in host.instances.values() if is_candidate(i)]
    return sorted(wanted, key=lambda i: (-i.waited_seconds, i.name))


def is_candidate(instance: Instance) -> bool:
    """Return whether an instance is wanted and can be started."""
    return instance.program.on_demand and instance.is_wanted and instance.phase in ("stopped", "asleep")


def make_plan(host: Host) -> Plan:
    """Return what each instance of the host has to do now."""
    return Planner(host).plan()


def _default_decision(instance: Instance) -> InstanceDecision:
    if must_sleep(instance):
        return InstanceDecision("release", "is put to sleep")
    if _has_failed_in_vain(instance):
        return InstanceDecision("release", f"nothing waits for it any more; {instance.failure}")
    if instance.is_wanted and instance.phase == "restarting":
        return InstanceDecision("wait", instance.failure or "it has ended and starts again")
    if instance.is_wanted and instance.phase == "stopping":
        return InstanceDecision("wait", "it is stopping")
    return InstanceDecision("stay")


def _has_failed_in_vain(instance: Instance) -> bool:
    """Return whether an instance on demand failed to load and would be restarted although nothing waits for it."""
    is_restarting = instance.program.on_demand and instance.phase == "restarting" and bool(instance.failure)
    return is_restarting and instance.facts is not None and not instance.is_wanted


def _with_delay(victim: Instance) -> str:
    delay = victim.facts.delay if victim.facts else ""
    return f"{victim.short_name} ({delay})" if delay else victim.short_name


def _can_measure(candidate: Instance) -> bool:
    has_tool = candidate.facts is not None and candidate.facts.has_tool
    return has_tool and candidate.measuring_seconds < READING_TIMEOUT_SECONDS


def _measured_shortage(candidate: Instance, readings: Iterable[GpuReading], gpus: tuple[int, ...]) -> str:
    """Return a text about the first of `gpus` that has too little free memory in a reading; "" if all have enough."""
    for reading in readings:
        wanted = needed(candidate.program, reading.memory_total)
        free = max(0, reading.memory_total - reading.memory_used)
        if reading.index in gpus and free < wanted:
            return (
                f"GPU {reading.index}: {size_text(free)} of {size_text(reading.memory_total)} are free, "
                f"needs {size_text(wanted)}; a process that has just ended may still have the rest"
            )
    return ""
