"""The table of `svc gpus`: the GPUs of each host, and which instances use their memory. Pure."""

from collections import Counter
from collections.abc import Iterator, Sequence

from rich.text import Text

from svc.base.byte_size import size_text
from svc.base.gpus.gpu import Gpu, GpuProcess
from svc.base.printable import printable
from svc.protocol.gpu import ListedHost
from svc.terminal.table import TableRow, crop, table_blocks

HEAD = ("HOST", "GPU", "NAME", "MEMORY", "FREE", "BUSY", "TEMP", "POWER", "ERRORS", "USED BY")
OPTIONAL_COLUMNS = ("POWER", "TEMP", "NAME", "FREE")  # dropped in this order on a narrow terminal
MAX_NAME_COLUMNS = 24
MAX_OTHER_PROCESSES = 3
VENDOR_PREFIXES = ("NVIDIA ", "AMD ", "MetaX ")  # the name of the tool says as much


def gpu_lines(hosts: Sequence[ListedHost], width: int) -> list[Text]:
    """Return the lines of the table, a row for each GPU, sorted by host."""
    rows = [row for host in sorted(hosts, key=lambda host: (host.hostname, host.service)) for row in _rows(host)]
    return crop(table_blocks(HEAD, rows, width, OPTIONAL_COLUMNS), None)


def _rows(host: ListedHost) -> Iterator[TableRow]:
    hostname = printable(host.hostname)
    if host.problem and not host.gpus:
        yield TableRow((hostname, *[""] * (len(HEAD) - 1)), "red", [printable(host.problem)], ())
    for gpu in host.gpus:
        below = [printable(gpu.fault)] if gpu.fault else []
        below += [host_problem] if (host_problem := printable(host.problem)) and gpu is host.gpus[0] else []
        style = "red" if gpu.fault else "yellow" if gpu.errors or host.problem else ""
        users, others = _users(gpu), [process for process in gpu.processes if not process.instance]
        yield TableRow((hostname, *_cells(gpu, users)), style, below + list(_other_lines(others)), ())


def _cells(gpu: Gpu, users: str) -> tuple[str, ...]:
    total = f" of {size_text(gpu.memory_total)}" if gpu.memory_total else ""
    return (
        str(gpu.index),
        _short_name(gpu.name),
        f"{size_text(gpu.memory_used)}{total}",
        size_text(gpu.memory_free) if gpu.memory_total else "",
        "" if gpu.utilization is None else f"{gpu.utilization:.0%}",
        "" if gpu.temperature is None else f"{gpu.temperature:.0f} C",
        "" if gpu.power is None else f"{gpu.power:.0f} W",
        "" if gpu.errors is None else str(gpu.errors),
        users,
    )


def _short_name(name: str) -> str:
    name = printable(name)
    for prefix in VENDOR_PREFIXES:
        name = name.removeprefix(prefix)
    return name if len(name) <= MAX_NAME_COLUMNS else name[: MAX_NAME_COLUMNS - 1] + "…"


def _users(gpu: Gpu) -> str:
    """Return the instances that use the GPU, the one with the most memory first, with their memory."""
    held: Counter[str] = Counter()
    for process in gpu.processes:
        if process.instance:
            held[process.instance] += process.memory or 0
    return ", ".join(
        f"{printable(name)} {size_text(size)}" if size else printable(name) for name, size in held.most_common()
    )


def _other_lines(processes: Sequence[GpuProcess]) -> Iterator[str]:
    """Yield a line for each process that belongs to no instance; the last line counts those that are left out."""
    for process in processes[:MAX_OTHER_PROCESSES]:
        memory = "" if process.memory is None else f" uses {size_text(process.memory)}"
        command = printable(process.command) or "its command is not visible"
        yield f"no instance: pid {process.pid}{memory}: {command}"
    if len(processes) > MAX_OTHER_PROCESSES:
        yield f"no instance: {len(processes) - MAX_OTHER_PROCESSES} more processes"
