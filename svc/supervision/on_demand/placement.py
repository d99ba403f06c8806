"""Chooses the GPUs for an instance, and the instances that have to give way to it there. Pure."""

import dataclasses
import itertools
from collections.abc import Iterable
from typing import Any

from svc.base.byte_size import distinct_size_texts, size_text
from svc.supervision.on_demand.host import Host, Instance
from svc.supervision.on_demand.memory import Room, held
from svc.supervision.on_demand.victims import Answer, Timing, gives_way, preference

MAX_NAMED_HOLDERS = 4  # maximum number of instances that a reason names as holders of a GPU's memory
MIN_NAMED_BYTES = 100 * 10**6  # less memory of other processes is not named: drivers keep some, and tools round


@dataclasses.dataclass(frozen=True, slots=True)
class Placement:
    """The GPUs for an instance, and the `victims`: the instances that have to give way to it there.

    `timing` is that of the victim that gives way last; LEAVING without victims. With NEVER, there are no such GPUs,
    and `reason` says what is missing. With LATER, it says what is waited for.
    """

    gpus: tuple[int, ...]
    victims: tuple[Instance, ...]
    timing: Timing
    reason: str = ""


class Placer:
    """Finds the placement of one candidate, while other instances hold the memory in `room`."""

    def __init__(self, host: Host, room: Room, candidate: Instance) -> None:
        self.host = host
        self.room = room
        self.candidate = candidate
        self.answers: dict[str, Answer] = {}

    def place(self) -> Placement:
        """Return the best placement: with the victims that give way soonest, then the fewest, then the tightest fit."""
        program = self.candidate.program
        if not program.has_resources:
            return Placement((), (), Timing.LEAVING)
        gpus = self.candidate.gpus or program.gpus
        if missing := [gpu for gpu in gpus if self.host.measured and gpu not in self.host.gpus]:
            return self._impossible(f"GPU {missing[0]} is not there: {self.host.name} has {_list(self.host.gpus)}")
        victims: list[Instance] = []
        if gpus:
            for gpu in gpus:
                more = self._victims_on(gpu, victims)
                if more is None:
                    return self._no_place(gpus)
                victims += more
        else:
            if program.count > len(self.host.gpus):
                return self._impossible(f"needs {program.count} GPUs; {self.host.name} has {len(self.host.gpus)}")
            gpus, victims = self._best_gpus(program.count)
            if len(gpus) < program.count:
                return self._no_place(self.host.gpus)
        return self._placement(tuple(gpus), self._without_spare(gpus, victims))

    def _best_gpus(self, count: int) -> tuple[tuple[int, ...], list[Instance]]:
        gpus: list[int] = []
        victims: list[Instance] = []
        for _ in range(count):
            options = []
            for gpu in self.host.gpus:
                if gpu not in gpus and (more := self._victims_on(gpu, victims)) is not None:
                    options.append((self._cost(gpu, more), gpu, more))
            if not options:
                break
            _, gpu, more = min(options, key=lambda option: option[:2])
            gpus.append(gpu)
            victims += more
        return tuple(sorted(gpus)), victims

    def _cost(self, gpu: int, victims: list[Instance]) -> tuple[Any, ...]:
        timing = max((self._answer(v).timing for v in victims), default=Timing.LEAVING)
        active = [v for v in victims if self._answer(v).timing > Timing.LEAVING]
        preferences = tuple(sorted(map(self._preference, active)))
        released = sum(held(v.program, self.room.total(gpu)) for v in victims)
        return (timing, len(active), preferences, released - self.room.shortfall(self.candidate.program, gpu))

    def _victims_on(self, gpu: int, chosen: Iterable[Instance]) -> list[Instance] | None:
        """Return the victims that a GPU needs besides those in `chosen`.

        Return None if the candidate does not fit there even if all give way that may.
        """
        total = self.room.total(gpu)
        names = {victim.name for victim in chosen}
        holders = self.room.holders.get(gpu, {})
        shortfall = self.room.shortfall(self.candidate.program, gpu)
        shortfall -= sum(held(holders[name].program, total) for name in names if name in holders)
        if shortfall <= 0:
            return []
        willing = [h for h in holders.values() if h.name not in names and self._answer(h).timing < Timing.NEVER]
        willing.sort(key=self._preference)
        sizes = [held(victim.program, total) for victim in willing]
        for number, released in enumerate(itertools.accumulate(sizes), start=1):
            if released >= shortfall:
                timing = self._answer(willing[number - 1]).timing
                alone = (v for v, size in zip(willing, sizes, strict=True) if size >= shortfall)
                single = next((v for v in alone if self._answer(v).timing <= timing), None)
                return [single] if single else willing[:number]
        return None

    def _without_spare(self, gpus: Iterable[int], victims: list[Instance]) -> tuple[Instance, ...]:
        """Return the victims without those that can stay because the others make enough room."""
        needed = sorted(victims, key=self._preference)
        for victim in reversed(list(needed)):
            others = [other for other in needed if other is not victim]
            if all(self._victims_on(gpu, others) == [] for gpu in gpus):
                needed = others
        return tuple(needed)

    def _placement(self, gpus: tuple[int, ...], victims: tuple[Instance, ...]) -> Placement:
        timing = max((self._answer(v).timing for v in victims), default=Timing.LEAVING)
        reason = self._shortage(gpus) if victims else ""
        return Placement(gpus, victims, timing, reason)

    def _no_place(self, gpus: Iterable[int]) -> Placement:
        return self._impossible(self._shortage(gpus))

    def _impossible(self, reason: str) -> Placement:
        return Placement((), (), Timing.NEVER, reason)

    def _shortage(self, gpus: Iterable[int]) -> str:
        """Return a text on the GPU that lacks least: what the candidate needs there, and what holds the memory."""
        program, room = self.candidate.program, self.room
        short = [gpu for gpu in gpus if room.shortfall(program, gpu) > 0]
        gpu = max(short, key=room.free)
        total = room.total(gpu)
        number = len(program.gpus) or program.count
        on_gpus = f"on {number} GPU{'s' if number > 1 else ''}; {self.host.name} GPU {gpu}"
        if total is not None and program.memory > total:
            needed, size = distinct_size_texts(program.memory, total)
            return f"needs {needed} {on_gpus} has {size} in all"
        wanted = "a whole GPU" if total is None or not program.memory else size_text(program.memory)
        parts = [f"needs {wanted} {on_gpus}"]
        if total is not None:
            parts.append(f"has {size_text(max(room.free(gpu), 0))} of {size_text(total)} free")
        else:
            parts.append("is taken, and its size is unknown")
        held_by = [f"{h.short_name} ({self._answer(h).reason})" for h in room.holders.get(gpu, {}).values()]
        foreign = room.gpus[gpu].foreign if gpu in room.gpus else 0
        if foreign >= MIN_NAMED_BYTES:
            sleepers = [i.short_name for i in self.host.instances.values() if i.phase == "asleep" and gpu in i.gpus]
            names = ", ".join(["other processes", *(f"{name} asleep" for name in sorted(sleepers))])
            held_by.append(f"{names} ({size_text(foreign)})")
        if held_by:
            parts.append("held by " + ", ".join(held_by[:MAX_NAMED_HOLDERS]))
        return ", ".join([" ".join(parts[:2]), *parts[2:]])

    def _answer(self, resident: Instance) -> Answer:
        if resident.name not in self.answers:
            self.answers[resident.name] = gives_way(resident, self.candidate, self.host.stay_factor)
        return self.answers[resident.name]

    def _preference(self, resident: Instance) -> tuple[float | str | bool, ...]:
        return preference(resident, self._answer(resident).timing, self.candidate)


def _list(gpus: Iterable[int]) -> str:
    numbers = ", ".join(map(str, sorted(gpus)))
    return f"GPU {numbers}" if numbers else "none"
