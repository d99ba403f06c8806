"""The health state of a service in one word, the same in every command, on the page and in the documents. Pure."""

from collections.abc import Mapping
from typing import Any, NamedTuple

GOOD, WARNING, BAD = "good", "warning", "bad"


class HealthState(NamedTuple):
    """A state, of which the documents and the page show the meaning."""

    level: str  # good; warning: it is temporary or wanted; bad: an operator should look
    meaning: str


HEALTH_STATES = {
    "healthy": HealthState(GOOD, "it gets requests"),
    "starting": HealthState(WARNING, "its model loads, or supervisord is about to restart it"),
    "draining": HealthState(WARNING, "it gets no new requests: it hangs, or is about to stop"),
    "stopping": HealthState(WARNING, "it is being stopped"),
    "stopped": HealthState(WARNING, "it was stopped"),
    "drained": HealthState(WARNING, "by `svc drain` or on the page: it gets no new requests until `svc undrain`"),
    "ejected": HealthState(BAD, "requests to it failed: the router sends it none for a while"),
    "unhealthy": HealthState(BAD, "it fails the health checks of the registry or the router"),
    "expired": HealthState(BAD, "no heartbeat arrived for the whole lease"),
    "failed": HealthState(BAD, "it is not restarted any more, after too many restarts"),
    "unrouted": HealthState(BAD, "the registry lists it as healthy, but the router does not use it"),
}


def state_of(service: Mapping[str, Any]) -> str:
    """Return the state of a service, as the registry lists it in JSON.

    1. A drain by the operator comes first, then 2. the status that the service reports, then 3. the health of a
    service that reports to be running.
    """
    status = service["status"]
    if service.get("drained"):
        return "drained" if status == "running" else f"drained, {status}"  # 1
    if status != "running":
        return status  # 2
    if service.get("is_healthy"):
        return "healthy"  # 3
    return "unhealthy" if service.get("health_status") == "unhealthy" else "expired"


def level_of(state: str) -> str:
    """Return the level of a state; in `drained, starting` and the like, the first word decides."""
    known = HEALTH_STATES.get(state.partition(",")[0])
    return known.level if known else BAD
