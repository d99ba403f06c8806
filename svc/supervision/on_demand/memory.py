"""How much room the GPUs of a host have, and what an instance needs of it. Pure."""

from collections.abc import Iterable

from svc.supervision.on_demand.host import GpuMemory, Host, Instance
from svc.supervision.on_demand.program import Program

WHOLE_GPU_SHARE = 0.9  # of a GPU must be free for an instance that takes it whole: drivers keep some memory
UNKNOWN = GpuMemory()


class Room:
    """The memory that instances hold on the GPUs of a host. It can be changed to try what would happen."""

    def __init__(self, host: Host) -> None:
        self.gpus = host.gpus
        self.holders: dict[int, dict[str, Instance]] = {gpu: {} for gpu in host.gpus}
        for instance in host.instances.values():
            if instance.holds_memory and instance.program.has_resources:
                self.add(instance, instance.gpus)

    def add(self, instance: Instance, gpus: Iterable[int]) -> None:
        """Reserve what an instance needs on these GPUs."""
        for gpu in gpus:
            self.holders.setdefault(gpu, {})[instance.name] = instance

    def remove(self, instance: Instance) -> None:
        """Free what an instance holds."""
        for gpu in instance.gpus:
            self.holders.get(gpu, {}).pop(instance.name, None)

    def total(self, gpu: int) -> int | None:
        """Return the memory of a GPU; None if it is unknown."""
        return self.gpus.get(gpu, UNKNOWN).total

    def reserved(self, gpu: int, total: int | None) -> int:
        """Return what instances hold on a GPU of this size."""
        return sum(held(instance.program, total) for instance in self.holders.get(gpu, {}).values())

    def free(self, gpu: int) -> int:
        """Return the memory that is neither reserved nor used by others; of an unknown GPU, 1 if nothing holds it."""
        total = self.total(gpu)
        return (total or 1) - self.reserved(gpu, total) - self.gpus.get(gpu, UNKNOWN).foreign

    def shortfall(self, program: Program, gpu: int) -> int:
        """Return how much more memory has to become free on a GPU before a program can start; at most 0 if it can."""
        total = self.total(gpu)
        unreserved = (total or 1) - self.reserved(gpu, total)
        free = unreserved - self.gpus.get(gpu, UNKNOWN).foreign
        return max(held(program, total) - unreserved, needed(program, total) - free)

    def has_room(self, program: Program, gpus: Iterable[int]) -> bool:
        """Return whether a program can start on these GPUs now."""
        return all(self.shortfall(program, gpu) <= 0 for gpu in gpus)


def held(program: Program, total: int | None) -> int:
    """Return the memory that a program holds on a GPU of this size. A GPU of unknown size counts as 1 byte."""
    return 1 if total is None else program.memory or total


def needed(program: Program, total: int | None) -> int:
    """Return the memory that must really be free on a GPU of this size when a program starts."""
    return 1 if total is None else program.memory or int(total * WHOLE_GPU_SHARE)


def gigabytes(memory: int) -> str:
    """Return a size as people write it: "38 GB", "0.5 GB"."""
    return f"{memory / 1e9:.0f} GB" if memory >= 1e11 else f"{memory / 1e9:.3g} GB"
