"""Reads the output of npu-smi, Huawei's tool for Ascend. Pure.

`npu-smi info` prints a table. Two lines describe a chip, and a second table lists the processes:

    | NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
    | Chip  Phy-ID              | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
    | 0     Ascend910           | OK            | 169.7       41                0    / 0             |
    | 0     0                   | 0000:9D:00.0  | 0           0    / 0          3422 / 65536         |

If a card has only one chip, the column Phy-ID is missing. The 950, which has one chip, has an additional column for the
name.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from svc.base.gpus import fields
from svc.base.gpus.gpu import Gpu, GpuProcess
from svc.base.gpus.vendor_tool import Query, VendorTool

FIRST_VALUES = re.compile(r"(\S+)\s+(\S+)\s+(?:\S+\s*/\s*\S+)")  # power, temperature, huge pages
SECOND_VALUES = re.compile(r"(\S+)\s+(.*/.*)")  # utilization, memory
PAIR = re.compile(r"(\d+)\s*/\s*(\d+)")
BUS = re.compile(r"[0-9A-Fa-f]{4}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-9A-Fa-f]|NA")


class Chip(NamedTuple):
    """One chip of a card."""

    card: int
    chip: int
    physical_id: int | None  # the number among all chips of the machine, if the tool prints it
    gpu: Gpu


def parse(outputs: Sequence[str]) -> list[Gpu]:
    """Return the chips in the table."""
    rows = list(fields.table_cells(outputs[0]))
    chips = [chip for first, second in zip(rows, rows[1:], strict=False) if (chip := _chip(first, second))]
    if not chips:
        raise ValueError("it lists no NPU")
    single = len({chip.card for chip in chips}) == len(chips)
    processes = _processes(rows)
    return [
        _numbered(chip, chip.card if single else place, processes.get((chip.card, chip.chip), []))
        for place, chip in enumerate(chips)
    ]


def _chip(first: Sequence[str], second: Sequence[str]) -> Chip | None:
    if len(first) != len(second) or len(first) not in (3, 4) or not BUS.fullmatch(second[-2]):
        return None
    label, numbers = " ".join(first[:-2]).split(None, 1), " ".join(second[:-2]).split()
    values, usage = FIRST_VALUES.fullmatch(first[-1]), SECOND_VALUES.fullmatch(second[-1])
    if len(label) != 2 or not label[0].isdigit() or not values or not usage or not all(map(str.isdigit, numbers)):
        return None
    pairs = [pair for pair in PAIR.findall(usage[2]) if pair[1] != "0"] or [("0", "0")]
    used, total = pairs[-1]  # HBM comes last, after other memory
    gpu = Gpu(
        index=0,
        uuid=fields.text(second[-2]),  # the PCI address
        name=fields.text(label[1]),
        memory_total=fields.size(total) or 0,
        memory_used=fields.size(used) or 0,
        utilization=fields.share(usage[1]),
        temperature=fields.temperature(values[2]),
        power=fields.power(values[1]),
        fault="" if first[-2] in ("OK", "NA") else fields.text(first[-2]),
    )
    chip = int(numbers[0]) if numbers else 0
    return Chip(int(label[0]), chip, int(numbers[1]) if len(numbers) > 1 else None, gpu)


def _numbered(chip: Chip, place: int, processes: Sequence[GpuProcess]) -> Gpu:
    index = place if chip.physical_id is None else chip.physical_id
    return msgspec.structs.replace(chip.gpu, index=index, processes=tuple(processes))


def _processes(rows: Sequence[Sequence[str]]) -> dict[tuple[int, int], list[GpuProcess]]:
    """Return the processes by card and chip.

    In a container, a fifth column has the pid inside the container; it is used instead of the pid on the host.
    """
    processes: dict[tuple[int, int], list[GpuProcess]] = {}
    for cells in rows:
        place = [int(part) for part in cells[0].split() if part.isdigit()] if len(cells) in (4, 5) else []
        pid = fields.pid(cells[4] if len(cells) == 5 else cells[1]) if place else None
        if pid is not None and not BUS.fullmatch(cells[1]):
            card, chip = place[0], place[1] if len(place) > 1 else 0
            processes.setdefault((card, chip), []).append(GpuProcess(pid=pid, memory=fields.size(cells[3])))
    return processes


TOOL = VendorTool("npu-smi", (Query(("info",)),), parse)
