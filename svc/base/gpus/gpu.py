"""What a machine reports about its GPUs. Pure.

The limits apply when a report is decoded (svc.protocol.gpu_report), so that a registry accepts no absurd values.
"""

from typing import Annotated

import msgspec

MAX_GPUS = 128  # of one machine
MAX_GPU_PROCESSES = 64  # of one GPU
MAX_TEXT_LENGTH = 128
MAX_COMMAND_LENGTH = 200
MAX_PROBLEM_LENGTH = 300
MAX_BYTES = 1 << 50
MAX_PID = (1 << 31) - 1
MAX_INDEX = 4095
Bytes = Annotated[int, msgspec.Meta(ge=0, le=MAX_BYTES)]
Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_BYTES)]
Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT_LENGTH)]


class GpuProcess(msgspec.Struct, frozen=True, kw_only=True):
    """A process that uses a GPU."""

    pid: Annotated[int, msgspec.Meta(ge=0, le=MAX_PID)]
    memory: Bytes | None = None  # what it uses of this GPU; None if the tool does not report it
    instance: Text = ""  # the instance to which the process belongs; "" for none
    command: Annotated[str, msgspec.Meta(max_length=MAX_COMMAND_LENGTH)] = ""  # "" if /proc does not show the process


class Gpu(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU. A value is None if the tool does not report it."""

    index: Annotated[int, msgspec.Meta(ge=0, le=MAX_INDEX)]  # as in CUDA_VISIBLE_DEVICES, if the tool uses that order
    uuid: Text = ""
    name: Text = ""
    memory_total: Bytes = 0  # 0: unknown
    memory_used: Bytes = 0
    utilization: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    temperature: Annotated[float, msgspec.Meta(ge=-300, le=10_000)] | None = None  # degrees Celsius
    power: Annotated[float, msgspec.Meta(ge=0, le=1e6)] | None = None  # watts
    errors: Count | None = None  # errors that the hardware could not correct, such as uncorrected ECC errors
    fault: Text = ""  # what the tool says of a GPU that does not work, such as "GPU requires reset"
    processes: Annotated[tuple[GpuProcess, ...], msgspec.Meta(max_length=MAX_GPU_PROCESSES)] = ()

    @property
    def memory_free(self) -> int:
        return max(0, self.memory_total - self.memory_used)

    def is_possible(self) -> bool:
        """Return whether all values are within their limits. msgspec checks these only when it decodes a Gpu."""
        try:
            msgspec.convert(msgspec.to_builtins(self), Gpu)
        except msgspec.ValidationError:
            return False
        return True


class HostGpus(msgspec.Struct, frozen=True, kw_only=True):
    """A reading of all GPUs of a machine. `problem` says why the tool reports no GPU, or what it complains about."""

    tool: Text  # for example nvidia-smi
    gpus: Annotated[tuple[Gpu, ...], msgspec.Meta(max_length=MAX_GPUS)] = ()
    problem: Annotated[str, msgspec.Meta(max_length=MAX_PROBLEM_LENGTH)] = ""
