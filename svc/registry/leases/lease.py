"""What time and events make of a service: pure."""

from typing import Any

from msgspec.structs import replace

from svc.protocol.service import Service
from svc.registry.leases import owner
from svc.registry.leases.owner import OPERATOR, Caller

UNSEEN = {"last_heartbeat": 0.0, "timestamp": "", "owner": ""}  # what readers of the list need not be told at once


def ends(service: Service, since: float) -> float:
    """When its lease ends, if nothing is heard of it.

    `since` is when this registry began to listen: what it was not there to
    hear is no silence.
    """
    return max(service.last_heartbeat, since) + service.lease_seconds


def lapsed(service: Service, now: float, since: float) -> bool:
    """Nothing was heard of it for as long as it said."""
    return now >= ends(service, since)


def forgettable(service: Service, now: float, forget_after: float, since: float) -> bool:
    """It has expired, and has been silent for `forget_after` seconds more."""
    return service.expired and now >= max(service.last_heartbeat + service.lease_seconds, since) + forget_after


def expired(service: Service, now: float, since: float) -> Service:
    """Marked, if it is time."""
    return replace(service, expired=True) if lapsed(service, now, since) else service


def brought_back(service: Service, now: float) -> Service:
    """Heard of now at the latest: the clock that said otherwise was ahead."""
    return replace(service, last_heartbeat=min(service.last_heartbeat, now))


def registered(old: Service | None, new: Service, caller: Caller = OPERATOR) -> Service:
    """A new registration starts with a clean bill of health; a good one is not taken away.

    Raises Forbidden, as do the others, when it is not the caller's.
    """
    owner.check(old, caller)
    if old is not None and old.health_status == "healthy" and old.health_url() == new.health_url():
        return replace(new, health_status="healthy")
    return replace(new, health_status="unknown")


def beaten(service: Service, now: float, status: str | None, caller: Caller = OPERATOR) -> Service:
    """After a heartbeat, which may bring a new status."""
    owner.check_heartbeat(service, caller)
    return changed(replace(service, last_heartbeat=now, expired=False), {"status": status} if status else {})


def changed(service: Service, fields: dict[str, Any], caller: Caller = OPERATOR) -> Service:
    """With new fields. A verdict of the checks is about one stretch of running at one address, and ends with it."""
    owner.check(service, caller)
    new = replace(service, **fields)
    begins = new.status == "running" and service.status != "running"
    if begins or new.health_url() != service.health_url():
        return replace(new, health_status="unknown")
    return new


def notable(old: Service | None, new: Service) -> bool:
    """Whether a reader of the list would notice: all but a lease that is renewed while it holds."""
    return old is None or replace(old, **UNSEEN) != replace(new, **UNSEEN)
