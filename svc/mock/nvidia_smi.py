"""A fake `nvidia-smi` for simulated GPUs: `python -m svc.mock.nvidia_smi FILE ARGUMENTS`.

It has the options that programs use: `--query-gpu`, `--query-compute-apps`, `--format=csv` with `noheader` and
`nounits`, `--id`, and `-L`. Output, errors and exit codes have the form of the real program.
"""

import argparse
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from svc.base import procfs
from svc.base.printable import printable
from svc.mock.gpu_state import GpuAllocation, GpuState, GpuStateFile, MockGpu

MIB = 2**20
NOT_AVAILABLE = "[N/A]"
INVALID_EXIT_CODE = 2
DRIVER_VERSION = "570.86.15"


class GpuMemoryUse(NamedTuple):
    """A GPU with the memory that is used on it."""

    gpu: MockGpu
    used: int


class ProcessRow(NamedTuple):
    """The memory of a process on one GPU."""

    gpu: MockGpu
    allocation: GpuAllocation


class Column(NamedTuple):
    """A field that can be queried. `unit` is printed in the header and behind the value."""

    value: Callable[[Any], object]
    unit: str = ""


def _mib(size: int) -> int:
    return -(-size // MIB)


def _errors(row: GpuMemoryUse) -> object:
    return row.gpu.errors


GPU_COLUMNS: dict[str, Column] = {
    "index": Column(lambda row: row.gpu.index),
    "uuid": Column(lambda row: row.gpu.uuid),
    "gpu_uuid": Column(lambda row: row.gpu.uuid),
    "name": Column(lambda row: row.gpu.name),
    "gpu_name": Column(lambda row: row.gpu.name),
    "driver_version": Column(lambda row: DRIVER_VERSION),
    "memory.total": Column(lambda row: row.gpu.memory_total // MIB, "MiB"),
    "memory.used": Column(lambda row: _mib(row.used), "MiB"),
    "memory.free": Column(lambda row: row.gpu.memory_total // MIB - _mib(row.used), "MiB"),
    "utilization.gpu": Column(lambda row: round(row.gpu.utilization), "%"),
    "temperature.gpu": Column(lambda row: round(row.gpu.temperature)),
    "power.draw": Column(lambda row: f"{row.gpu.power:.2f}", "W"),
    "ecc.errors.uncorrected.volatile.total": Column(_errors),
    "ecc.errors.uncorrected.aggregate.total": Column(_errors),
}
PROCESS_COLUMNS: dict[str, Column] = {
    "pid": Column(lambda row: row.allocation.pid),
    "process_name": Column(lambda row: _process_name(row.allocation.pid)),
    "name": Column(lambda row: _process_name(row.allocation.pid)),
    "used_memory": Column(lambda row: _mib(row.allocation.memory), "MiB"),
    "used_gpu_memory": Column(lambda row: _mib(row.allocation.memory), "MiB"),
    "gpu_uuid": Column(lambda row: row.gpu.uuid),
    "gpu_name": Column(lambda row: row.gpu.name),
}


def main(arguments: Sequence[str]) -> int:
    """Print what the arguments request about the GPUs of a file; return the exit code."""
    parser = argparse.ArgumentParser(prog="nvidia-smi", allow_abbrev=False)
    parser.add_argument("file", type=Path)
    parser.add_argument("--query-gpu")
    parser.add_argument("--query-compute-apps")
    parser.add_argument("--format", default="")
    parser.add_argument("--id", "-i", default="")
    parser.add_argument("--list-gpus", "-L", action="store_true")
    options = parser.parse_args(arguments)
    state = _selected(GpuStateFile(options.file).read(), options.id)
    if not state.gpus:
        _print("No devices were found")
        return 6
    if options.query_gpu:
        return _query(options.query_gpu, GPU_COLUMNS, _gpu_rows(state), options.format)
    if options.query_compute_apps:
        return _query(options.query_compute_apps, PROCESS_COLUMNS, _process_rows(state), options.format)
    for gpu in state.gpus:
        _print(f"GPU {gpu.index}: {gpu.name} (UUID: {gpu.uuid})")
    return 0


def install(directory: Path, file: Path) -> Path:
    """Write an executable `nvidia-smi` for the GPUs of `file` into a directory for PATH; return its path."""
    program = directory / "nvidia-smi"
    command = [sys.executable, "-m", "svc.mock.nvidia_smi", str(file.absolute())]
    program.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    program.chmod(0o755)
    return program


def _selected(state: GpuState, ids: str) -> GpuState:
    """Return only the GPUs with these indexes or uuids; all if `ids` is empty."""
    wanted = set(ids.split(",")) - {""}
    state.gpus = [gpu for gpu in state.gpus if not wanted or wanted & {str(gpu.index), gpu.uuid}]
    return state


def _gpu_rows(state: GpuState) -> list[GpuMemoryUse]:
    return [GpuMemoryUse(gpu, state.used(gpu.index)) for gpu in state.gpus]


def _process_rows(state: GpuState) -> list[ProcessRow]:
    gpus = {gpu.index: gpu for gpu in state.gpus}
    held = [allocation for allocation in state.allocations if allocation.memory and allocation.gpu in gpus]
    return [ProcessRow(gpus[allocation.gpu], allocation) for allocation in held]


def _query(names: str, columns: dict[str, Column], rows: Iterable[Any], output_format: str) -> int:
    form = output_format.split(",")
    if form[0] != "csv":
        _print("\"--format=\" switch is missing. Please run 'nvidia-smi -h' for help.")
        return INVALID_EXIT_CODE
    fields = [name.strip() for name in names.split(",")]
    for name in fields:
        if name not in columns:
            _print(f'Field "{name}" is not a valid field to query.\n')
            return INVALID_EXIT_CODE
    has_units = "nounits" not in form
    if "noheader" not in form:
        _print(", ".join(f"{name} [{unit}]" if (unit := columns[name].unit) and has_units else name for name in fields))
    for row in rows:
        _print(", ".join(_text(columns[name], row, has_units) for name in fields))
    return 0


def _print(line: str) -> None:
    """Print a line with control characters escaped: the name of a process may contain some."""
    print(printable(line, keep="\n"))


def _text(column: Column, row: Any, has_units: bool) -> str:
    value = column.value(row)
    if value is None:
        return NOT_AVAILABLE
    return f"{value} {column.unit}" if column.unit and has_units else str(value)


def _process_name(pid: int) -> str:
    """Return the program of a process, which the real tool prints without the arguments."""
    try:
        return next(iter(procfs.arguments(pid)), NOT_AVAILABLE)
    except OSError:
        return NOT_AVAILABLE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
