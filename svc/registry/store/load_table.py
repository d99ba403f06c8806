"""The loads of services in memory. Pure."""

from collections.abc import Iterable, Sequence

from svc.protocol.instance_load import InstanceLoad, ListedLoad
from svc.protocol.service import Service
from svc.registry.leases import lease
from svc.registry.leases.lease import LeaseRenewal
from svc.registry.store.contract import LoadReport

AGE_DIGITS = 3


class LoadTable:
    """The last load of each service, and when it was reported."""

    def __init__(self) -> None:
        self._loads: dict[str, tuple[InstanceLoad, float]] = {}

    def put(self, reports: Sequence[LoadReport], services: Sequence[Service | None], now: float) -> list[bool]:
        """Keep the load of each report whose caller may report it; return for each whether it is kept.

        `services` contains the service of each report in the same order, None for an unknown name.
        """
        return [self._put(report, service, now) for report, service in zip(reports, services, strict=True)]

    def _put(self, report: LoadReport, service: Service | None, now: float) -> bool:
        if service is None or not lease.only_renews(service, LeaseRenewal(report.name, None, report.caller)):
            return False
        self._loads[report.name] = (report.load, now)
        return True

    def forget(self, name: str) -> None:
        """Forget the load of a service that leaves, or whose name another owner may take."""
        self._loads.pop(name, None)

    def current(self, now: float) -> list[ListedLoad]:
        """Return the current loads, sorted by name, and forget the others."""
        listed = current_loads(((name, load, at) for name, (load, at) in sorted(self._loads.items())), now)
        if len(listed) < len(self._loads):
            self._loads = {entry.service: self._loads[entry.service] for entry in listed}
        return listed


def current_loads(loads: Iterable[tuple[str, InstanceLoad, float]], now: float) -> list[ListedLoad]:
    """Return those of `loads` that are current.

    Each entry of `loads` is a tuple: the name of the service, its load, and the time of the report.
    """
    return [
        ListedLoad(
            service=name,
            age=round(max(0.0, now - at), AGE_DIGITS),
            running=load.running,
            waiting=load.waiting,
            kv_cache=load.kv_cache,
            tokens_per_second=load.tokens_per_second,
            interval=load.interval,
        )
        for name, load, at in loads
        if load.is_current(now - at)
    ]
