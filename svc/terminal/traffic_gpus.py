"""The table of GPUs in `svc top`: a row for each GPU, or for each host if there is no room for that. Pure."""

from collections.abc import Iterable, Mapping, Sequence

from rich.text import Text

from svc.base.byte_size import gigabytes
from svc.protocol.gpu_use import GpuUse, HostUse
from svc.terminal.table import TableRow, crop, table_blocks

HEAD = ("GPU", "MEMORY", "BUSY", "TEMP", "POWER", "HELD BY")
OPTIONAL_COLUMNS = ("POWER", "TEMP")  # dropped in this order on a narrow terminal
BAR_COLUMNS = 10
MIN_HOLDER_COLUMNS = 12
COLUMNS_BESIDE_HOLDERS = 62  # width of the other columns, for a host with a short name


def gpu_lines(hosts: Mapping[str, HostUse], width: int, height: int | None = None) -> list[Text]:
    """Return the lines of the table, at most `height` of them; [] if no host has GPUs."""
    if not hosts:
        return []
    rows = [row for name, host in hosts.items() for row in _rows(name, host, width)]
    if height is not None and len(rows) >= height:
        rows = [_host_row(name, host, width) for name, host in hosts.items()]
    head, *blocks = table_blocks(HEAD, rows, width, OPTIONAL_COLUMNS)
    return [*head.lines, *crop(blocks, None if height is None else max(1, height - len(head.lines)))]


def _rows(name: str, host: HostUse, width: int) -> Iterable[TableRow]:
    if host.problem:
        yield TableRow((name, "-", "-", "-", "-", _cut(host.problem, width)), "red", (), ())
    for use in host.gpus:
        yield _gpu_row(name, use, width)


def _gpu_row(host: str, use: GpuUse, width: int) -> TableRow:
    gpu = use.gpu
    holders = [_amount(name, memory) for name, memory in use.held.items()]
    holders += [_amount(f"pid {process.pid}", process.memory) for process in use.strangers]
    return _row(f"{host} {gpu.index}", [use], ", ".join(holders), width)


def _host_row(name: str, host: HostUse, width: int) -> TableRow:
    text = f"{len(host.gpus)} GPU{'' if len(host.gpus) == 1 else 's'}"
    row = _row(name, host.gpus, f"{host.problem}, {text}" if host.problem else text, width)
    return row._replace(style="red") if host.problem else row


def _row(name: str, uses: Sequence[GpuUse], text: str, width: int) -> TableRow:
    """Return the row of one or several GPUs: memory and power are sums, the temperature is the highest."""
    gpus = [use.gpu for use in uses]
    errors = sum(gpu.errors or 0 for gpu in gpus)
    busy = [gpu.utilization for gpu in gpus if gpu.utilization is not None]
    temperatures = [gpu.temperature for gpu in gpus if gpu.temperature is not None]
    powers = [gpu.power for gpu in gpus if gpu.power is not None]
    problems = [f"{errors} error{'' if errors == 1 else 's'}"] if errors else []
    problems += [gpu.fault for gpu in gpus if gpu.fault]
    text = ", ".join([*problems, *([text] if text else [])])
    cells = (
        name,
        _memory(sum(gpu.memory_used for gpu in gpus), sum(gpu.memory_total for gpu in gpus)),
        f"{100 * sum(busy) / len(busy):3.0f} %" if busy else "-",
        f"{max(temperatures):.0f} °C" if temperatures else "-",
        f"{sum(powers):.0f} W" if powers else "-",
        _cut(text, width),
    )
    return TableRow(cells, "red" if problems else "", (), ())


def _memory(used: int, total: int) -> str:
    if not total:
        return f"{gigabytes(used)} GB"
    filled = min(BAR_COLUMNS, round(BAR_COLUMNS * used / total))
    return f"{'█' * filled}{'░' * (BAR_COLUMNS - filled)} {gigabytes(used)} of {gigabytes(total)} GB"


def _amount(name: str, memory: int | None) -> str:
    return name if memory is None else f"{name} {gigabytes(memory)} GB"


def _cut(text: str, width: int) -> str:
    columns = max(MIN_HOLDER_COLUMNS, width - COLUMNS_BESIDE_HOLDERS)
    return text if len(text) <= columns else f"{text[: columns - 1]}…"
