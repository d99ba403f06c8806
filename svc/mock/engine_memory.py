"""The memory of one mock on simulated GPUs."""

from dataclasses import dataclass

from svc.mock.behaviour import GpuOptions
from svc.mock.gpu_state import GpuStateFile, OutOfMemory

GB = 10**9


@dataclass(slots=True)
class EngineMemory:
    """The memory that the engine of one process holds on its GPUs; without a file of GPUs, it holds none."""

    options: GpuOptions
    name: str
    pid: int
    file: GpuStateFile | None

    def take(self, event: str) -> None:
        """Take the memory of a loaded engine and report `event`; raise OutOfMemory if the memory does not fit."""
        try:
            self._hold(self.options.memory, event)
        except OutOfMemory as error:
            self.report("out_of_memory", reason=str(error))
            raise

    def offload(self) -> None:
        """Keep only the memory that a sleeping engine keeps."""
        self._hold(self.options.sleep_memory, "sleep")

    def free(self) -> None:
        """Free the memory on all GPUs and report that, when the process ends without a crash."""
        if self.file is not None:
            with self.file.changed() as state:
                state.free(self.pid)
                self.report("exit")

    def report(self, kind: str, **fields: object) -> None:
        """Append an event of this engine to the events of the file of GPUs."""
        if self.file is not None:
            self.file.report(kind, name=self.name, pid=self.pid, gpus=self.options.gpus, **fields)

    def _hold(self, memory: int, event: str) -> None:
        """Hold `memory` bytes on each GPU instead of the present amount, and report the event.

        Both happen under one lock, so that the events are in the order of the changes.
        """
        if self.file is not None:
            with self.file.changed() as state:
                state.take(self.pid, self.options.gpus, memory)
                self.report(event, memory=memory)


def load_seconds(options: GpuOptions) -> float:
    """Return the time that an engine takes to load: the fixed part, and the part that depends on its size."""
    by_size = options.memory / (options.load_rate * GB) if options.load_rate else 0
    return options.load_time + by_size
