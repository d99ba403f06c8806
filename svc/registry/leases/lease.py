"""How a registration, a heartbeat, an update or the end of its lease changes a service. Pure."""

from typing import Any, NamedTuple

from msgspec.structs import replace

from svc.protocol.service import Service
from svc.registry.leases import owner
from svc.registry.leases.owner import OPERATOR, Caller

# If only these fields change, the revision stays the same, because readers of the list ignore renewed leases.
UNWATCHED_FIELDS = {"last_heartbeat": 0.0, "timestamp": "", "owner": ""}


class LeaseRenewal(NamedTuple):
    """The request of a heartbeat: renew the lease of the service `name`, and set its status."""

    name: str
    status: str | None  # None: leave the status as it is
    caller: Caller


def expires_at(service: Service, listening_since: float) -> float:
    """Return the time at which the lease ends if no further heartbeat arrives.

    `listening_since` is when this registry began to listen. The lease begins no earlier than that, because the
    registry could not receive heartbeats before.
    """
    return max(service.last_heartbeat, listening_since) + service.lease_seconds


def has_lapsed(service: Service, now: float, listening_since: float) -> bool:
    """Return whether no heartbeat has arrived for the whole length of the lease; False with `static = true`."""
    return not service.is_static() and now >= expires_at(service, listening_since)


def is_forgettable(service: Service, now: float, forget_after: float, listening_since: float) -> bool:
    """Return whether the service expired more than `forget_after` seconds ago."""
    return (
        service.expired and now >= max(service.last_heartbeat + service.lease_seconds, listening_since) + forget_after
    )


def expire_if_lapsed(service: Service, now: float, listening_since: float) -> Service:
    """Return the service, marked as expired if its lease is over."""
    return replace(service, expired=True) if has_lapsed(service, now, listening_since) else service


def limit_heartbeat_to_now(service: Service, now: float) -> Service:
    """Return the service with a last heartbeat that is not later than `now`.

    A later one was recorded while the clock was ahead.
    """
    return replace(service, last_heartbeat=min(service.last_heartbeat, now))


def register(old: Service | None, new: Service, caller: Caller = OPERATOR) -> Service:
    """Return the service to store for a registration.

    The health status stays `healthy` if the service was healthy at the same health URL; otherwise it becomes `unknown`.
    Raise Forbidden if another caller owns the name.
    """
    owner.check(old, caller, now=new.last_heartbeat)
    if old is not None and old.health_status == "healthy" and old.health_url() == new.health_url():
        return replace(new, health_status="healthy")
    return replace(new, health_status="unknown")


def after_heartbeat(service: Service, now: float, status: str | None, caller: Caller = OPERATOR) -> Service:
    """Return the service after a heartbeat; a `status` of None leaves the status as it was.

    Raise the errors of owner.check_heartbeat.
    """
    return update(service, {"status": status} if status else {}, now, caller)


def only_renews(service: Service, renewal: LeaseRenewal) -> bool:
    """Return whether `after_heartbeat` would accept the renewal and change only the time of the last heartbeat."""
    is_same_status = renewal.status in (None, service.status)
    return is_same_status and not service.expired and not owner.is_owned_by_another(service, renewal.caller)


def update(service: Service, fields: dict[str, Any], now: float, caller: Caller = OPERATOR) -> Service:
    """Return the service with a renewed lease and the new fields; raise the errors of owner.check_heartbeat.

    The health status becomes `unknown` if the service starts to run or gets another health URL, because earlier checks
    prove nothing about the new state.
    """
    owner.check_heartbeat(service, caller)
    new = replace(service, last_heartbeat=now, expired=False, **fields)
    starts = new.status == "running" and service.status != "running"
    if starts or new.health_url() != service.health_url():
        return replace(new, health_status="unknown")
    return new


def is_visible_change(old: Service | None, new: Service) -> bool:
    """Return whether any field outside of UNWATCHED_FIELDS changes: readers of the list get this change."""
    return old is None or replace(old, **UNWATCHED_FIELDS) != replace(new, **UNWATCHED_FIELDS)
