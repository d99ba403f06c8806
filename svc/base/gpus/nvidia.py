"""Reads the output of nvidia-smi. Pure.

Its CSV is the same with all drivers; a value that a GPU lacks is [N/A] or [Not Supported]. The index of a GPU is its
index in CUDA_VISIBLE_DEVICES if CUDA_DEVICE_ORDER is PCI_BUS_ID or all GPUs are alike.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from svc.base.gpus import fields
from svc.base.gpus.gpu import Gpu, GpuProcess
from svc.base.gpus.vendor_tool import Query, VendorTool

FORMAT = "--format=csv,noheader,nounits"
# The name comes last, because it is the only field that could contain a comma.
GPU_FIELDS = (
    "index,uuid,memory.total,memory.used,utilization.gpu,temperature.gpu,power.draw,"
    "ecc.errors.uncorrected.volatile.total,name"
)
PROCESS_FIELDS = "gpu_uuid,pid,used_memory"
MIG_PARENT = re.compile(r"MIG-(GPU-[0-9a-f-]+)/")  # drivers before 470 name a MIG device by its GPU


class GpuRow(NamedTuple):
    number: str
    uuid: str
    memory_total: str
    memory_used: str
    utilization: str
    temperature: str
    power: str
    errors: str
    name: str


def parse(outputs: Sequence[str]) -> list[Gpu]:
    """Return the GPUs in the outputs of the two queries."""
    processes = _processes(outputs[1])
    gpus = [gpu for row in _rows(outputs[0], len(GpuRow._fields)) if (gpu := _gpu(GpuRow(*row), processes))]
    if not gpus:
        raise ValueError("it lists no GPU")
    return gpus


def _gpu(row: GpuRow, processes: dict[str, list[GpuProcess]]) -> Gpu | None:
    index = fields.count(row.number)
    if index is None:
        return None
    uuid = fields.text(row.uuid)
    return Gpu(
        index=index,
        uuid=uuid,
        name=fields.text(row.name),
        memory_total=fields.size(row.memory_total) or 0,
        memory_used=fields.size(row.memory_used) or 0,
        utilization=fields.share(row.utilization),
        temperature=fields.temperature(row.temperature),
        power=fields.power(row.power),
        errors=fields.count(row.errors),
        fault=fields.fault(row.utilization, row.temperature, row.memory_used, row.power, row.errors),
        processes=tuple(processes.pop(uuid, ())),  # popped, because a broken output may list a GPU many times
    )


def _processes(output: str) -> dict[str, list[GpuProcess]]:
    """Return the processes by the UUID of their GPU.

    With newer drivers, a MIG device (a part of a GPU) has a UUID that does not name its GPU, so its processes are left
    out. The GPU's `memory_used` includes their memory.
    """
    processes: dict[str, list[GpuProcess]] = {}
    for uuid, pid_text, memory in _rows(output, 3):
        pid = fields.pid(pid_text)
        parent = MIG_PARENT.match(uuid)
        if pid is not None:
            process = GpuProcess(pid=pid, memory=fields.size(memory))
            processes.setdefault(parent[1] if parent else uuid, []).append(process)
    return processes


def _rows(output: str, columns: int) -> list[list[str]]:
    """Return the rows with `columns` fields; messages between them have fewer. nvidia-smi puts no field in quotes."""
    rows = ([cell.strip() for cell in line.split(",", columns - 1)] for line in output.splitlines())
    return [row for row in rows if len(row) == columns]


TOOL = VendorTool(
    "nvidia-smi",
    (Query((f"--query-gpu={GPU_FIELDS}", FORMAT)), Query((f"--query-compute-apps={PROCESS_FIELDS}", FORMAT))),
    parse,
)
