"""What uses the GPUs of each host, from the reports that a registry lists. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from svc.protocol.gpu_report import Gpu, GpuProcess, ListedHost


class GpuUse(NamedTuple):
    """A GPU, and what uses it.

    `held`: instance -> bytes of its processes; None if the vendor's tool does not report them. `strangers` are the
    processes that belong to no instance.
    """

    gpu: Gpu
    held: Mapping[str, int | None]
    strangers: Sequence[GpuProcess]


class HostUse(NamedTuple):
    """The GPUs of a host. `problem`: why the vendor's tool reports none, or what it complains about."""

    problem: str
    gpus: Sequence[GpuUse]


def use_by_host(reports: Iterable[ListedHost]) -> dict[str, HostUse]:
    """Return the GPUs of each host, by the host's name.

    If the babysitters of several sites report the same host, its newest report is used. Each site knows its own
    instances only, so the instance of a process may be named in any of the host's reports.
    """
    owners: dict[tuple[str, int], str] = {}
    newest: dict[str, ListedHost] = {}
    for report in sorted(reports, key=lambda report: -report.age):
        newest[report.hostname] = report
        for process in (process for gpu in report.gpus for process in gpu.processes if process.instance):
            owners[report.hostname, process.pid] = process.instance
    return {
        name: HostUse(report.problem, [_use(gpu, name, owners) for gpu in report.gpus])
        for name, report in sorted(newest.items())
    }


def _use(gpu: Gpu, host: str, owners: Mapping[tuple[str, int], str]) -> GpuUse:
    held: dict[str, int | None] = {}
    strangers = []
    for process in gpu.processes:
        if owner := owners.get((host, process.pid), ""):
            before = held.get(owner, 0)
            held[owner] = None if process.memory is None or before is None else before + process.memory
        else:
            strangers.append(process)
    return GpuUse(gpu, held, strangers)
