"""Simulated GPUs: a file with their memory and the processes that hold it.

Each mock of the host takes its memory in this file, under a lock, and is refused what does not fit. The memory of a
process that has ended is free, as it is on a real GPU, however the process ended. The fake `nvidia-smi` reads the file.
A second file, `gpus.events.jsonl`, lists what happened, for tests and benchmarks.
"""

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from svc.base import procfs
from svc.base.errors import CommandError


class OutOfMemory(Exception):
    """A GPU has less free memory than a process wants; the text is the one of PyTorch."""


@dataclass(frozen=True, slots=True)
class MockGpu:
    """One simulated GPU. Sizes are bytes."""

    index: int
    uuid: str
    name: str
    memory_total: int
    utilization: float = 0  # percent
    temperature: float = 35  # degrees Celsius
    power: float = 50  # watts
    errors: int | None = None  # uncorrected errors; None: the GPU does not count them


@dataclass(frozen=True, slots=True)
class GpuAllocation:
    """The memory of one process on one GPU."""

    gpu: int
    pid: int
    started: int  # when the process started; a later process with the same pid has another time
    memory: int

    @property
    def is_held(self) -> bool:
        """Return whether the process still runs; a zombie has given its memory back."""
        try:
            return procfs.start_ticks(self.pid) == self.started and not procfs.stat(self.pid).has_ended
        except OSError:
            return False


@dataclass(slots=True)
class GpuState:
    """The content of the file of simulated GPUs."""

    gpus: list[MockGpu]
    allocations: list[GpuAllocation] = field(default_factory=list)

    def used(self, index: int) -> int:
        """Return the number of bytes that processes hold on a GPU."""
        return sum(allocation.memory for allocation in self.allocations if allocation.gpu == index)

    def take(self, pid: int, gpus: Sequence[int], memory: int) -> None:
        """Let a process hold `memory` bytes on each of `gpus`; raise OutOfMemory if one of them has less."""
        known = {gpu.index: gpu for gpu in self.gpus}
        self.free(pid)
        started = procfs.start_ticks(pid)
        for index in gpus:
            if index not in known:
                raise OutOfMemory("RuntimeError: CUDA error: invalid device ordinal")
            free = known[index].memory_total - self.used(index)
            if memory > free:
                raise OutOfMemory(_out_of_memory_text(index, memory, known[index].memory_total, free))
            self.allocations.append(GpuAllocation(index, pid, started, memory))

    def free(self, pid: int) -> None:
        """Free the memory of a process on all GPUs."""
        self.allocations = [allocation for allocation in self.allocations if allocation.pid != pid]


class GpuStateFile:
    """The file of simulated GPUs, which the processes of a host share."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self.clock = clock

    @property
    def events_path(self) -> Path:
        """The path of the list of events, one JSON object a line."""
        return self.path.with_suffix(".events.jsonl")

    def create(self, count: int, memory_total: int, name: str = "Mock GPU") -> None:
        """Write a file with `count` unused GPUs."""
        gpus = [
            MockGpu(index, f"GPU-00000000-0000-4000-8000-{index:012x}", name, memory_total) for index in range(count)
        ]
        with self._locked():
            self._write(GpuState(gpus))

    def read(self) -> GpuState:
        """Return the GPUs, with the memory of the processes that run."""
        with self._locked():
            return self._read()

    @contextmanager
    def changed(self) -> Iterator[GpuState]:
        """Yield the GPUs, and write what the block changes, unless it raises."""
        with self._locked():
            state = self._read()
            yield state
            self._write(state)

    def report(self, kind: str, **fields: Any) -> None:
        """Append an event to the list; each line is one write, so that lines of several processes do not mix."""
        event = {"time": self.clock(), "event": kind, **fields}
        with self.events_path.open("ab", buffering=0) as file:
            file.write(json.dumps(event).encode() + b"\n")

    def events(self) -> list[dict[str, Any]]:
        """Return all events that were appended so far, the oldest first."""
        try:
            return [json.loads(line) for line in self.events_path.read_bytes().splitlines()]
        except FileNotFoundError:
            return []

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            descriptor = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise CommandError(f"cannot lock the GPUs of {self.path}: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _read(self) -> GpuState:
        try:
            content = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            directory = self.path.parent
            raise CommandError(f"{self.path} does not exist; create it with: svc mock-gpus {directory}") from None
        except ValueError as error:
            raise CommandError(f"cannot read {self.path}: {error}") from None
        allocations = [GpuAllocation(**fields) for fields in content["allocations"]]
        gpus = [MockGpu(**fields) for fields in content["gpus"]]
        return GpuState(gpus, [allocation for allocation in allocations if allocation.is_held])

    def _write(self, state: GpuState) -> None:
        temporary = self.path.with_suffix(".new")
        temporary.write_text(json.dumps(asdict(state), indent=1) + "\n")
        os.replace(temporary, self.path)


def _out_of_memory_text(index: int, wanted: int, total: int, free: int) -> str:
    def gib(size: int) -> str:
        return f"{size / 2**30:.2f} GiB"

    return (
        f"torch.OutOfMemoryError: CUDA out of memory. Tried to allocate {gib(wanted)}. "
        f"GPU {index} has a total capacity of {gib(total)} of which {gib(free)} is free."
    )
