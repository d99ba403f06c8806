"""The memory of a host's GPUs as the vendor's tool last showed it. Pure."""

from collections.abc import Callable, Iterable

from svc.supervision.on_demand.host import GpuMemory
from svc.supervision.on_demand.instance_facts import GpuReading

SETTLE_SECONDS = 15.0  # for so long after the end of a process, its memory may still be shown as used
FOREIGN_MEMORY_VALID_SECONDS = 300.0  # after this time without a reading (the tool fails), foreign memory counts as 0


class Readings:
    """The readings of a host's GPUs. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._gpus: dict[int, tuple[int, int, float]] = {}  # GPU -> total, foreign memory, time of the reading
        self._left_at: dict[int, float] = {}  # GPU -> when a process left it last

    def __bool__(self) -> bool:
        return bool(self._gpus)

    def record_exit(self, gpus: Iterable[int], now: float) -> None:
        """Record that a process on these GPUs has ended."""
        for gpu in gpus:
            self._left_at[gpu] = now

    def take(self, readings: Iterable[GpuReading], reserved: Callable[[int, int], int], now: float) -> None:
        """Record a reading of all GPUs; `reserved(gpu, total)` returns the bytes that instances hold.

        Memory that is used beyond this is foreign. For SETTLE_SECONDS after a process has left a GPU, it may be that
        process's, so the recorded value can only decrease.
        """
        known = self._gpus
        self._gpus = {}
        for reading in readings:
            gpu, total = reading.index, reading.memory_total
            foreign = max(0, reading.memory_used - reserved(gpu, total))
            if now - self._left_at.get(gpu, -SETTLE_SECONDS) < SETTLE_SECONDS:
                foreign = min(foreign, known[gpu][1] if gpu in known else 0)
            self._gpus[gpu] = (total, foreign, now)

    def memory(self, now: float) -> dict[int, GpuMemory]:
        """Return the memory of each GPU at the last reading; empty without one."""
        memory = {}
        for gpu, (total, foreign, at) in self._gpus.items():
            is_valid = now - at <= FOREIGN_MEMORY_VALID_SECONDS
            memory[gpu] = GpuMemory(total, foreign if is_valid else 0, now - at)
        return memory
