"""Reads the output of rocm-smi, AMD's tool before amd-smi, and of tools that print the same. Pure.

rocm-smi's keys differ between releases, so each value is looked up under several names. rocm-smi reports the memory of
a process only as the sum over all GPUs, so its memory on one GPU is known only if it uses no other.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from svc.base.gpus import fields
from svc.base.gpus.gpu import Gpu, GpuProcess
from svc.base.gpus.vendor_tool import Query, VendorTool

CARD = re.compile(r"card(\d+)")
PROCESS = re.compile(r"PID ?(\d+)")
DEVICES_OF_PROCESS = re.compile(r"PID (\d+) is using \d+ DRM device\(s\):?\s*\n([\d ,]+)")
NAMES = ("Card Series", "Card series", "Card model", "Card Model")
SENSORS = ("Temperature (Sensor junction) (C)", "Temperature (Sensor edge) (C)", "Temperature (Sensor memory) (C)")
POWERS = (
    "Current Socket Graphics Package Power (W)",
    "Average Graphics Package Power (W)",
    "Average Socket Power (W)",
)


def parse(outputs: Sequence[str]) -> list[Gpu]:
    """Return the GPUs in the outputs of the two queries."""
    document = fields.json_value(outputs[0])
    entries = document.items() if isinstance(document, dict) else ()
    cards = {int(m[1]): card for key, card in entries if (m := CARD.fullmatch(key)) and isinstance(card, dict)}
    if not cards:
        raise ValueError("it lists no GPU")
    processes = _processes(document.get("system"), outputs[1])
    return [_gpu(index, card, processes.get(index, ())) for index, card in sorted(cards.items())]


def _gpu(index: int, card: Mapping[str, Any], processes: Sequence[GpuProcess]) -> Gpu:
    return Gpu(
        index=index,
        uuid=fields.text(card.get("Unique ID")),
        name=next(filter(None, (fields.text(card.get(key)) for key in NAMES)), ""),
        memory_total=fields.size(card.get("VRAM Total Memory (B)"), 1) or 0,
        memory_used=fields.size(card.get("VRAM Total Used Memory (B)"), 1) or 0,
        utilization=fields.share(card.get("GPU use (%)")),
        temperature=next(_values(card, SENSORS, fields.temperature), None),
        power=next(_values(card, POWERS, fields.power), None),
        processes=tuple(processes),
    )


def _processes(system: object, devices_text: str) -> dict[int, list[GpuProcess]]:
    """Return the processes of each GPU.

    `system` has an entry "PID1234": "NAME, number of GPUs, bytes, SDMA, compute units" for each process.
    `devices_text`, the output of the second query, has the GPUs of each process.
    """
    memories = _memories(system)
    processes: dict[int, list[GpuProcess]] = {}
    for match in DEVICES_OF_PROCESS.finditer(devices_text):
        pid, devices = int(match[1]), [int(device) for device in re.findall(r"\d+", match[2])]
        memory = memories.get(pid) if len(devices) == 1 else None
        for device in devices:
            processes.setdefault(device, []).append(GpuProcess(pid=pid, memory=memory))
    return processes


def _memories(system: object) -> dict[int, int]:
    memories = {}
    for key, value in system.items() if isinstance(system, dict) else ():
        match = PROCESS.fullmatch(key)
        columns = value.split(",") if isinstance(value, str) else []
        memory = fields.size(columns[-3], 1) if len(columns) >= 5 else None
        if match and memory is not None:
            memories[int(match[1])] = memory
    return memories


def _values(card: Mapping[str, Any], keys: Sequence[str], read: Any) -> Iterator[float]:
    return (value for key in keys if (value := read(card.get(key))) is not None)


TOOL = VendorTool(
    "rocm-smi",
    (
        Query(
            ("--showproductname", "--showuniqueid", "--showmeminfo", "vram", "--showuse", "--showtemp", "--showpower")
            + ("--showpids", "--json")
        ),
        Query(("--showpidgpus",)),
    ),
    parse,
)
