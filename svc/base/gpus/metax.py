"""Reads the output of mx-smi, MetaX's tool. Pure.

Without arguments, mx-smi prints a table. Two lines describe a GPU, and a second table lists the processes. Newer
releases print more columns, but those that are read here come in the same order in all releases:

    | 0           MetaX C500             | 0000:0e:00.0        | 42%                  |
    | 55C         180W / 350W            | 5680/65536 MiB      | Available            |
"""

import re
from collections.abc import Sequence

from svc.base.gpus import fields
from svc.base.gpus.gpu import Gpu, GpuProcess
from svc.base.gpus.vendor_tool import Query, VendorTool

FIRST_LINE = re.compile(r"(\d+)\s+(\S.*?)(?:\s{2,}(?:On|Off)|\s+(?:On|Off))?")  # index, name, persistence mode
MEMORY = re.compile(r"(\d+)\s*/\s*(\d+)\s*MiB")
SENSORS = re.compile(r"(\S+)\s+([\d.]+W|N/?A)(?:\s.*)?")
PROCESS = re.compile(r"(\d+)\s+(\d+)\s+(.*?)\s+(\d+)(?:\s*MiB)?")
ECC_GPU = re.compile(r"GPU#(\d+)")
ECC_ERRORS = re.compile(r"\s*(?:\S+ Uncorrectable|Double Bit ECC)\s*:\s*(\d+)")
WORKING_STATES = ("", "Available", "Native")


def parse(outputs: Sequence[str]) -> list[Gpu]:
    """Return the GPUs in the table and in the counts of ECC errors."""
    rows = list(fields.table_cells(outputs[0]))
    errors, processes = _errors(outputs[1]), _processes(rows)
    gpus = []
    for first, second in zip(rows, rows[1:], strict=False):
        name = FIRST_LINE.fullmatch(first[0]) if len(first) == len(second) == 3 else None
        memory = MEMORY.search(second[1]) if name else None
        if name and memory:
            index = int(name[1])
            gpus.append(_gpu(index, name[2], memory, first, second, errors.get(index), processes.get(index, [])))
    if not gpus:
        raise ValueError("it lists no GPU")
    return gpus


def _gpu(
    index: int,
    name: str,
    memory: re.Match[str],
    first: Sequence[str],
    second: Sequence[str],
    errors: int | None,
    processes: Sequence[GpuProcess],
) -> Gpu:
    sensors = SENSORS.match(second[0])
    return Gpu(
        index=index,
        uuid=fields.text(first[1]),  # the PCI address; only `mx-smi -L` prints the UUID
        name=fields.text(name),
        memory_total=fields.size(memory[2]) or 0,
        memory_used=fields.size(memory[1]) or 0,
        utilization=fields.share(first[2].split()[0] if first[2] else ""),
        temperature=fields.temperature(sensors[1]) if sensors else None,
        power=fields.power(sensors[2]) if sensors else None,
        errors=errors,
        fault="" if second[2] in WORKING_STATES else fields.text(second[2]),
        processes=tuple(processes),
    )


def _processes(rows: Sequence[Sequence[str]]) -> dict[int, list[GpuProcess]]:
    processes: dict[int, list[GpuProcess]] = {}
    for cells in rows:
        match = PROCESS.fullmatch(cells[0]) if len(cells) == 1 else None
        pid = fields.pid(match[2]) if match else None
        if match and pid is not None:
            processes.setdefault(int(match[1]), []).append(GpuProcess(pid=pid, memory=fields.size(match[4])))
    return processes


def _errors(output: str) -> dict[int, int]:
    """Return the uncorrectable errors of each GPU: the sum of those that `--count-ecc` lists."""
    errors: dict[int, int] = {}
    index = None
    for line in output.splitlines():
        if match := ECC_GPU.match(line):
            index = int(match[1])
        elif index is not None and (match := ECC_ERRORS.match(line)):
            errors[index] = errors.get(index, 0) + int(match[1])
    return errors


TOOL = VendorTool("mx-smi", (Query(()), Query(("--count-ecc",))), parse)
