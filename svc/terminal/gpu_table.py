"""The table of `svc gpus`: the GPUs of each host, and which instances hold their memory. Pure."""

from collections.abc import Iterator, Mapping, Sequence

from rich.text import Text

from svc.base.byte_size import size_text
from svc.base.printable import printable
from svc.protocol.gpu_report import Gpu, GpuProcess
from svc.protocol.gpu_use import GpuUse, HostUse
from svc.terminal.table import TableRow, crop, table_blocks

HEAD = ("HOST", "GPU", "NAME", "MEMORY", "FREE", "BUSY", "TEMP", "POWER", "ERRORS", "HELD BY")
OPTIONAL_COLUMNS = ("POWER", "TEMP", "NAME", "FREE")  # dropped in this order on a narrow terminal
MAX_NAME_COLUMNS = 24
MAX_STRANGERS = 3
VENDORS = ("NVIDIA ", "AMD ", "MetaX ")  # left out of the names of GPUs, because the models are well known


def gpu_lines(hosts: Mapping[str, HostUse], width: int) -> list[Text]:
    """Return the lines of the table: a row for each GPU, and below it lines for its problems and other processes."""
    rows = [row for name, host in hosts.items() for row in _rows(printable(name), host)]
    return crop(table_blocks(HEAD, rows, width, OPTIONAL_COLUMNS), None)


def _rows(name: str, host: HostUse) -> Iterator[TableRow]:
    problem = [printable(host.problem)] if host.problem else []
    if problem and not host.gpus:
        yield TableRow((name, *[""] * (len(HEAD) - 1)), "red", problem, ())
    for use in host.gpus:
        gpu = use.gpu
        below = [*problem, *([printable(gpu.fault)] if gpu.fault else []), *_stranger_lines(use.strangers)]
        style = "red" if gpu.fault else "yellow" if gpu.errors or problem else ""
        yield TableRow((name, *_cells(gpu, _holders(use))), style, below, ())
        problem = []  # a host's problem is shown only once


def _cells(gpu: Gpu, holders: str) -> tuple[str, ...]:
    total = f" of {size_text(gpu.memory_total)}" if gpu.memory_total else ""
    return (
        str(gpu.index),
        _short_name(gpu.name),
        f"{size_text(gpu.memory_used)}{total}" if total or gpu.memory_used else "",
        size_text(gpu.memory_free) if total else "",
        "" if gpu.utilization is None else f"{gpu.utilization:.0%}",
        "" if gpu.temperature is None else f"{gpu.temperature:.0f} °C",
        "" if gpu.power is None else f"{gpu.power:.0f} W",
        "" if gpu.errors is None else str(gpu.errors),
        holders,
    )


def _short_name(name: str) -> str:
    name = printable(name)
    for vendor in VENDORS:
        name = name.removeprefix(vendor)
    return name if len(name) <= MAX_NAME_COLUMNS else f"{name[: MAX_NAME_COLUMNS - 1]}…"


def _holders(use: GpuUse) -> str:
    """Return the instances that hold memory, the one with the most first."""
    held = sorted(use.held.items(), key=lambda item: -(item[1] or 0))
    return ", ".join(printable(name) if size is None else f"{printable(name)} {size_text(size)}" for name, size in held)


def _stranger_lines(processes: Sequence[GpuProcess]) -> Iterator[str]:
    """Yield a line for each process that belongs to no instance; the last line counts those that are left out."""
    for process in processes[:MAX_STRANGERS]:
        memory = "" if process.memory is None else f" holds {size_text(process.memory)}"
        command = printable(process.command) or "its command is not visible"
        yield f"no instance: pid {process.pid}{memory}: {command}"
    if len(processes) > MAX_STRANGERS:
        yield f"no instance: {len(processes) - MAX_STRANGERS} more processes"
