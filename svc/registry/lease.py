"""What time and events make of a service: pure."""

from typing import Any

from msgspec.structs import replace

from svc.instance import Service


def lapsed(service: Service, now: float) -> bool:
    """Nothing was heard of it for as long as it said."""
    return now >= service.last_heartbeat + service.lease_seconds


def forgettable(service: Service, now: float, forget_after: float, since: float) -> bool:
    """It has been silent for `forget_after` seconds after its lease, and for as long since `since`.

    `since` is when this registry started: what it was not there to hear is no
    silence.
    """
    return now >= max(service.last_heartbeat + service.lease_seconds, since) + forget_after


def registered(old: Service | None, new: Service) -> Service:
    """A new registration starts with a clean bill of health; a good one is not taken away."""
    if old is not None and old.health_status == "healthy" and old.health_url() == new.health_url():
        return replace(new, health_status="healthy")
    return replace(new, health_status="unknown")


def beaten(service: Service, now: float, status: str | None) -> Service:
    """After a heartbeat, which may bring a new status."""
    return changed(replace(service, last_heartbeat=now), {"status": status} if status else {})


def changed(service: Service, fields: dict[str, Any]) -> Service:
    """With new fields. A verdict of the checks is about one stretch of running at one address, and ends with it."""
    new = replace(service, **fields)
    begins = new.status == "running" and service.status != "running"
    if begins or new.health_url() != service.health_url():
        return replace(new, health_status="unknown")
    return new


def notable(old: Service | None, new: Service) -> bool:
    """Whether a reader of the list would notice: all but a lease that is renewed while it holds."""
    if old is None:
        return True
    revived = new.last_heartbeat > old.last_heartbeat and lapsed(old, new.last_heartbeat)
    return revived or replace(old, last_heartbeat=0, timestamp="") != replace(new, last_heartbeat=0, timestamp="")
