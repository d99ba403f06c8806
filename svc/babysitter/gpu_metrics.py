"""The metrics of this host's GPUs, from the babysitter that reads them. Pure."""

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from svc.base.gpus.gpu import Gpu, HostGpus

# Metric, its help, and the field of Gpu; a value that is not known has no sample.
GAUGES = (
    ("svc_gpu_memory_bytes", "Memory of the GPU", "memory_total"),
    ("svc_gpu_memory_used_bytes", "Memory of the GPU that is used, by whatever process", "memory_used"),
    ("svc_gpu_utilization_ratio", "Share of the time in which the GPU works, 0 to 1", "utilization"),
    ("svc_gpu_temperature_celsius", "Temperature of the GPU", "temperature"),
    ("svc_gpu_power_watts", "Power that the GPU draws", "power"),
    ("svc_gpu_errors", "Errors that the GPU could not correct, as the vendor's tool counts them", "errors"),
)


def gpu_metrics(reading: HostGpus, host: str) -> Iterator[Metric]:
    """Yield the metrics of a reading. Only GPUs and instances of this `host` are labels, so their number is bounded."""
    working = GaugeMetricFamily(
        "svc_gpu_tool_up", "1 while the vendor's tool reports the GPUs", labels=["host", "tool"]
    )
    working.add_metric([host, reading.tool], not reading.problem)
    yield working
    for name, meaning, field in GAUGES:
        gauge = GaugeMetricFamily(name, meaning, labels=["host", "gpu"])
        for gpu in reading.gpus:
            value = getattr(gpu, field)
            if value is not None and (value or field != "memory_total"):
                gauge.add_metric([host, str(gpu.index)], value)
        yield gauge
    faults = GaugeMetricFamily(
        "svc_gpu_fault", "1 if the vendor's tool reports that the GPU is broken", labels=["host", "gpu"]
    )
    held = GaugeMetricFamily(
        "svc_gpu_process_memory_bytes",
        "Memory that the processes of an instance hold, or, without an instance, all other processes",
        labels=["host", "gpu", "held_by"],
    )
    for gpu in reading.gpus:
        faults.add_metric([host, str(gpu.index)], bool(gpu.fault))
        for instance, memory in sorted(memory_by_instance(gpu).items()):
            held.add_metric([host, str(gpu.index), instance], memory)
    yield faults
    yield held


def memory_by_instance(gpu: Gpu) -> Counter[str]:
    """Return the memory of the GPU that the processes of each instance use; "" stands for all other processes."""
    held: Counter[str] = Counter()
    for process in gpu.processes:
        held[process.instance] += process.memory or 0
    return held
