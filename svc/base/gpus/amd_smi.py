"""Reads the output of amd-smi, AMD's tool since ROCm 6. Pure.

ROCm 6 prints a list of GPUs, ROCm 7 an object with that list in "gpu_data". A value that a GPU lacks is "N/A".
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from svc.base.gpus import fields
from svc.base.gpus.gpu import Gpu, GpuProcess
from svc.base.gpus.vendor_tool import Query, VendorTool

SENSORS = ("hotspot", "edge", "mem")  # the first that a GPU has is used; the Instinct series has no "edge"
POWER_FIELDS = ("socket_power", "current_socket_power", "average_socket_power")


def parse(outputs: Sequence[str]) -> list[Gpu]:
    """Return the GPUs in the outputs of the three subcommands `metric`, `process` and `static`."""
    metrics = dict(_entries(outputs[0]))
    if not metrics:
        raise ValueError("it lists no GPU")
    processes, static = _optional(outputs[1]), _optional(outputs[2])
    return [_gpu(index, metric, processes.get(index, {}), static.get(index, {})) for index, metric in metrics.items()]


def _gpu(index: int, metric: Mapping[str, Any], processes: Mapping[str, Any], static: Mapping[str, Any]) -> Gpu:
    memory, asic = _object(metric, "mem_usage"), _object(static, "asic")
    sensors, power = _object(metric, "temperature"), _object(metric, "power")
    return Gpu(
        index=index,
        uuid=fields.text(asic.get("asic_serial")),
        name=fields.text(asic.get("market_name")),
        memory_total=fields.size(memory.get("total_vram")) or 0,
        memory_used=fields.size(memory.get("used_vram")) or 0,
        utilization=fields.share(_object(metric, "usage").get("gfx_activity")),
        temperature=next(_values(sensors, SENSORS, fields.temperature), None),
        power=next(_values(power, POWER_FIELDS, fields.power), None),
        errors=fields.count(_object(metric, "ecc").get("total_uncorrectable_count")),
        processes=tuple(_processes(processes)),
    )


def _processes(entry: Mapping[str, Any]) -> Iterator[GpuProcess]:
    """Yield the processes of a GPU. If it has none, the only entry of the list is "No running processes detected"."""
    listed = entry.get("process_list")
    for item in listed if isinstance(listed, list) else ():
        info = _object(item, "process_info") if isinstance(item, dict) else {}
        pid = fields.pid(info.get("pid"))
        if pid is not None:
            yield GpuProcess(pid=pid, memory=fields.size(_object(info, "memory_usage").get("vram_mem"), 1))


def _entries(output: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    document = fields.json_value(output)
    listed = document.get("gpu_data") if isinstance(document, dict) else document
    for entry in listed if isinstance(listed, list) else ():
        index = fields.count(entry.get("gpu")) if isinstance(entry, dict) else None
        if index is not None:
            yield index, entry


def _optional(output: str) -> dict[int, Mapping[str, Any]]:
    try:
        return dict(_entries(output))
    except ValueError:
        return {}


def _object(entry: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = entry.get(key)
    return value if isinstance(value, dict) else {}


def _values(entry: Mapping[str, Any], keys: Sequence[str], read: Any) -> Iterator[float]:
    return (value for key in keys if (value := read(entry.get(key))) is not None)


TOOL = VendorTool(
    "amd-smi",
    (
        Query(("metric", "--mem-usage", "--usage", "--power", "--temperature", "--ecc", "--json")),
        Query(("process", "--json")),
        Query(("static", "--asic", "--json"), is_constant=True),
    ),
    parse,
)
