"""The GPUs of a host: a babysitter reports them to the registry, which lists them. Pure.

A report is out of date within seconds, so it is not part of a registration.
"""

from typing import Annotated

import msgspec

from svc.base.gpus.gpu import Gpu, GpuProcess, HostGpus

__all__ = ["Gpu", "GpuProcess", "HostGpus"]  # these come from svc.base, and are part of the protocol

GPU_INTERVAL_SECONDS = 5.0
READING_FILE = "gpus.json"  # in the state directory of a site: the last report of the host's GPUs
MAX_AGE_INTERVALS = 3  # a report is ignored once it is older than three times its `interval`
MIN_INTERVAL_SECONDS, MAX_INTERVAL_SECONDS = 0.1, 600.0
MAX_REPORT_AGE_SECONDS = MAX_AGE_INTERVALS * MAX_INTERVAL_SECONDS
MAX_REPORT_BYTES = 64 << 10
MAX_HOSTS = 500  # maximum number of hosts whose reports a registry keeps


class GpuReport(HostGpus, frozen=True, kw_only=True):
    """What a babysitter sends for its host: POST /services/NAME/gpus."""

    hostname: Annotated[str, msgspec.Meta(min_length=1, max_length=253)]
    interval: Annotated[float, msgspec.Meta(ge=MIN_INTERVAL_SECONDS, le=MAX_INTERVAL_SECONDS)] = GPU_INTERVAL_SECONDS

    def is_current(self, age: float) -> bool:
        """Return whether the report is still valid, `age` seconds after it arrived."""
        return age <= MAX_AGE_INTERVALS * self.interval


class ListedHost(GpuReport, frozen=True, kw_only=True):
    """An entry of the registry's list of hosts with GPUs: GET /gpus."""

    service: str  # the babysitter that reports the host
    age: float  # seconds since the report arrived


def fitted(report: GpuReport) -> GpuReport:
    """Return the report with as many processes of each GPU as a registry accepts; those with the most memory stay."""
    most = max((len(gpu.processes) for gpu in report.gpus), default=0)
    while most and len(msgspec.json.encode(report)) > MAX_REPORT_BYTES:
        most //= 2
        gpus = tuple(msgspec.structs.replace(gpu, processes=gpu.processes[:most]) for gpu in report.gpus)
        report = msgspec.structs.replace(report, gpus=gpus)
    return report
