"""The memory of a host's GPUs: how much of it instances hold, and how much a program needs. Pure."""

from collections.abc import Iterable

from svc.supervision.on_demand.host import GpuMemory, Host, Instance
from svc.supervision.on_demand.program import Program

WHOLE_GPU_SHARE = 0.9  # share of a GPU that must be free for a program that needs it whole; drivers keep the rest
UNKNOWN = GpuMemory()


class Room:
    """The memory that instances hold on the GPUs of a host. Add and remove instances to find out what would fit."""

    def __init__(self, host: Host) -> None:
        self.gpus = host.gpus
        self.holders: dict[int, dict[str, Instance]] = {gpu: {} for gpu in host.gpus}
        for instance in host.instances.values():
            if instance.holds_memory and instance.program.has_resources:
                self.add(instance, instance.gpus)

    def add(self, instance: Instance, gpus: Iterable[int]) -> None:
        """Reserve the memory that an instance needs on these GPUs."""
        for gpu in gpus:
            self.holders.setdefault(gpu, {})[instance.name] = instance

    def remove(self, instance: Instance) -> None:
        """Free the memory that an instance holds on its GPUs."""
        for gpu in instance.gpus:
            self.holders.get(gpu, {}).pop(instance.name, None)

    def total(self, gpu: int) -> int | None:
        """Return the size of a GPU's memory in bytes; None if it is unknown."""
        return self.gpus.get(gpu, UNKNOWN).total

    def reserved(self, gpu: int, total: int | None) -> int:
        """Return the bytes that instances hold on a GPU with `total` bytes of memory."""
        return sum(held(instance.program, total) for instance in self.holders.get(gpu, {}).values())

    def free(self, gpu: int) -> int:
        """Return the bytes that neither instances nor other processes have; they may be negative.

        A GPU of unknown size counts as 1 byte.
        """
        total = self.total(gpu)
        return (total or 1) - self.reserved(gpu, total) - self.gpus.get(gpu, UNKNOWN).foreign

    def shortfall(self, program: Program, gpu: int) -> int:
        """Return how many bytes must become free on a GPU before a program can start; 0 or less if it can start now."""
        total = self.total(gpu)
        unreserved = (total or 1) - self.reserved(gpu, total)
        free = unreserved - self.gpus.get(gpu, UNKNOWN).foreign
        return max(held(program, total) - unreserved, needed(program, total) - free)

    def has_room(self, program: Program, gpus: Iterable[int]) -> bool:
        """Return whether a program can start on these GPUs now."""
        return all(self.shortfall(program, gpu) <= 0 for gpu in gpus)


def held(program: Program, total: int | None) -> int:
    """Return the bytes that are reserved for a program on a GPU with `total` bytes; 1 if that is unknown."""
    return 1 if total is None else program.memory or total


def needed(program: Program, total: int | None) -> int:
    """Return the bytes that must be free, as measured, on a GPU with `total` bytes when a program starts."""
    return 1 if total is None else program.memory or int(total * WHOLE_GPU_SHARE)
