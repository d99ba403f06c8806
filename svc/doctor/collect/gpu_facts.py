"""Reads the facts of this machine's GPUs."""

import glob
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from svc.base import procfs
from svc.doctor.machine_gpus import Gpus, GpuStranger
from svc.protocol.gpu_report import Gpu
from svc.site.gpu_overview import read_this_host

TOOL_TIMEOUT_SECONDS = 5.0  # less than the limit for all facts of this machine


def gpus(var: Path) -> Gpus:
    """Return this machine's GPUs; `var` is the site's state directory."""
    matches = (re.fullmatch(r"/dev/nvidia(\d+)", path) for path in glob.glob("/dev/nvidia*"))
    devices = {int(match[1]) for match in matches if match}
    reading = read_this_host(var, TOOL_TIMEOUT_SECONDS, time.time())
    if reading is None:
        return Gpus(sorted(devices))
    listed = reading.gpus.gpus
    return Gpus(
        sorted(devices | {gpu.index for gpu in listed}),
        [gpu.uuid for gpu in listed if gpu.uuid],
        reading.gpus.problem,
        reading.gpus.tool,
        listed,
        tuple(_strangers(listed)),
    )


def _strangers(listed: Sequence[Gpu]) -> Iterator[GpuStranger]:
    """Yield the processes that belong to no instance, without those of other containers, which /proc does not list."""
    held: dict[int, list[tuple[int, int | None]]] = {}
    for gpu in listed:
        for process in (process for process in gpu.processes if not process.instance):
            held.setdefault(process.pid, []).append((gpu.index, process.memory))
    for pid, uses in held.items():
        with suppress(OSError):
            sizes = [memory for _, memory in uses if memory is not None]
            indices = [index for index, _ in uses]
            yield GpuStranger(pid, procfs.shown_command(pid), indices, sum(sizes) if sizes else None)
