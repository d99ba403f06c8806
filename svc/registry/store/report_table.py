"""Keeps in memory what services report every few seconds: loads of engines, GPUs of hosts. Pure."""

from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

import msgspec

from svc.protocol.gpu_report import GpuReport, ListedHost
from svc.protocol.instance_load import InstanceLoad, ListedLoad
from svc.protocol.service import Service
from svc.registry.leases import lease
from svc.registry.leases.lease import LeaseRenewal
from svc.registry.leases.owner import Caller

AGE_DIGITS = 3


class ExpiringReport(Protocol):
    """A report that is dropped unless the next one follows in time."""

    def is_current(self, age: float) -> bool: ...


R = TypeVar("R", bound=ExpiringReport)


class ReportTable(Generic[R]):
    """The last report of each service, and when it arrived; at most `limit` reports, or any number for 0."""

    def __init__(self, limit: int = 0) -> None:
        self._limit = limit
        self._reports: dict[str, tuple[R, float]] = {}

    def put(self, name: str, report: R, service: Service | None, caller: Caller, now: float) -> bool:
        """Keep a report if `caller` may report for `service` and there is room; return whether it is kept.

        `service` is the service of that name, None if it is not registered.
        """
        if service is None or not lease.only_renews(service, LeaseRenewal(name, None, caller)):
            return False
        if self._limit and name not in self._reports and len(self._reports) >= self._limit:
            self.current(now)  # removes reports that are out of date, to make room
            if len(self._reports) >= self._limit:
                return False
        self._reports[name] = (report, now)
        return True

    def forget(self, name: str) -> None:
        """Forget the report of a service that leaves, or whose name another owner may take."""
        self._reports.pop(name, None)

    def current(self, now: float) -> list[tuple[str, R, float]]:
        """Return name, report and time of the current reports, sorted by name, and forget the others."""
        current = sorted((name, *entry) for name, entry in self._reports.items() if entry[0].is_current(now - entry[1]))
        if len(current) < len(self._reports):
            self._reports = {name: (report, at) for name, report, at in current}
        return current


def current_loads(loads: Iterable[tuple[str, InstanceLoad, float]], now: float) -> list[ListedLoad]:
    """Return those of `loads` that are current.

    Each entry of `loads` is a tuple: the name of the service, its load, and the time of the report.
    """
    return [
        ListedLoad(
            service=name,
            age=_age(now, at),
            running=load.running,
            waiting=load.waiting,
            kv_cache=load.kv_cache,
            tokens_per_second=load.tokens_per_second,
            interval=load.interval,
        )
        for name, load, at in loads
        if load.is_current(now - at)
    ]


def current_hosts(reports: Iterable[tuple[str, GpuReport, float]], now: float) -> list[ListedHost]:
    """Return those of `reports` that are current. Each entry is the service's name, its report, and when it arrived."""
    return [
        ListedHost(service=name, age=_age(now, at), **msgspec.structs.asdict(report))
        for name, report, at in reports
        if report.is_current(now - at)
    ]


def _age(now: float, at: float) -> float:
    return round(max(0.0, now - at), AGE_DIGITS)
