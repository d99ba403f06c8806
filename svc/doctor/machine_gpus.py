"""The facts of this machine's GPUs, which are part of the doctor's facts. Pure."""

import dataclasses
from collections.abc import Sequence

from svc.protocol.gpu_report import Gpu


@dataclasses.dataclass(frozen=True, slots=True)
class GpuStranger:
    """A process that holds memory of GPUs and belongs to no instance."""

    pid: int
    command: str
    gpus: Sequence[int]
    memory: int | None  # bytes on all these GPUs; None if the vendor's tool does not report them


@dataclasses.dataclass(frozen=True, slots=True)
class Gpus:
    """This machine's GPUs."""

    indices: Sequence[int] = ()  # of GPUs that the vendor's tool lists, and of those with a device file of NVIDIA
    uuids: Sequence[str] = ()  # as far as the tool lists them
    problem: str = ""  # why the tool fails
    tool: str = ""  # "" if no vendor's tool is installed
    listed: Sequence[Gpu] = ()
    strangers: Sequence[GpuStranger] = ()
