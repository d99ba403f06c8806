"""The GPUs of all hosts, for the page: they are read from the registry while a page is open, and at no other time."""

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from svc.base.errors import SvcError, Unavailable
from svc.protocol.gpu_report import ListedHost
from svc.protocol.gpu_use import GpuUse, use_by_host
from svc.router.ui.feed import Feed

if TYPE_CHECKING:  # not at run time: a router without a registry does not load the registry's client
    from svc.client.registry import RegistryClient

log = logging.getLogger(__name__)
READ_INTERVAL_SECONDS = 2.5  # hosts report every 5 seconds
IDLE_INTERVAL_SECONDS = 1.0  # time between two rounds while no page is open
RETRY_INTERVAL_SECONDS = 60.0  # pause after the answer of an older registry, which has no GPUs


class GpuFollower:
    """The job that reads the GPUs into the feed while a page is open.

    Call `run_round` again and again: after the seconds that the last call returned, or at once when a page opens.
    """

    def __init__(self, feed: Feed, client: "RegistryClient", clock: Callable[[], float]) -> None:
        self._feed = feed
        self._client = client
        self._clock = clock
        self._reports: list[ListedHost] = []
        self._read_at = clock()

    def run_round(self) -> float:
        """Read the GPUs once. While no registry answers, each report is shown until it is too old."""
        if not self._feed.subscribers:
            self._reports = []
            self._feed.set_gpus(None)
            return IDLE_INTERVAL_SECONDS
        pause = READ_INTERVAL_SECONDS
        try:
            self._reports, self._read_at = self._client.gpus(), self._clock()
        except Unavailable:
            pass  # the sync of the table logs that no registry answers
        except SvcError as error:
            log.debug("cannot read the GPUs: %s", error)
            pause = RETRY_INTERVAL_SECONDS
        elapsed = self._clock() - self._read_at
        self._feed.set_gpus(hosts_of(report for report in self._reports if report.is_current(report.age + elapsed)))
        return pause


def hosts_of(reports: Iterable[ListedHost]) -> dict[str, dict[str, Any]]:
    """Return what the page shows of each host, by the host's name."""
    return {
        name: {"problem": host.problem, "gpus": [_gpu(use) for use in host.gpus]}
        for name, host in use_by_host(reports).items()
    }


def _gpu(use: GpuUse) -> dict[str, Any]:
    """Return one GPU as JSON. Values are rounded, because each change is sent to all pages."""
    gpu = use.gpu
    return {
        "index": gpu.index,
        "name": gpu.name,
        "total": gpu.memory_total,
        "used": gpu.memory_used,
        "utilization": None if gpu.utilization is None else round(gpu.utilization, 2),
        "temperature": None if gpu.temperature is None else round(gpu.temperature),
        "power": None if gpu.power is None else round(gpu.power),
        "errors": gpu.errors,
        "fault": gpu.fault,
        "held": use.held,
        "strangers": [{"pid": p.pid, "command": p.command, "memory": p.memory} for p in use.strangers],
    }
