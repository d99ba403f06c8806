"""The health state of a service as one word, which every command, the page and the documents use. Pure."""

from collections.abc import Mapping
from typing import Any, NamedTuple

GOOD, INFO, WARNING, BAD = "good", "info", "warning", "bad"


class HealthState(NamedTuple):
    """A health state; the documents and the registry's page show its meaning."""

    level: str  # good; info: gets no requests, which is normal; warning: temporary or intended; bad: needs an operator
    meaning: str


HEALTH_STATES = {
    "healthy": HealthState(GOOD, "it gets requests"),
    "asleep": HealthState(INFO, "its engine is stopped, or sleeps: a request for one of its models wakes it"),
    "starting": HealthState(WARNING, "its model loads, or supervisord is about to restart it"),
    "draining": HealthState(WARNING, "it gets no new requests: it hangs, or is about to stop"),
    "stopping": HealthState(WARNING, "it is being stopped"),
    "stopped": HealthState(WARNING, "stopped by an operator"),
    "drained": HealthState(WARNING, "by `svc drain` or on the page: it gets no new requests until `svc undrain`"),
    "ejected": HealthState(BAD, "requests to it failed: the router sends it none for a while"),
    "failing": HealthState(BAD, "most of its last answers are 500, while other instances of its models answer"),
    "unhealthy": HealthState(BAD, "it fails the health checks of the registry or the router"),
    "expired": HealthState(BAD, "no heartbeat arrived for the whole lease"),
    "failed": HealthState(BAD, "it is not restarted any more, after too many restarts"),
    "unrouted": HealthState(BAD, "the registry lists it as healthy, but the router does not use it"),
}


def state_of(service: Mapping[str, Any]) -> str:
    """Return the health state of a service, given its JSON from the registry.

    1. If an operator has drained the service, the state is `drained`, followed by a status other than `running`.
    2. Otherwise a status other than `running` is the state.
    3. The state of a running service is its health.
    """
    status = service["status"]
    if service.get("drained"):
        return "drained" if status == "running" else f"drained, {status}"  # rule 1
    if status != "running":
        return status  # rule 2
    if service.get("is_healthy"):
        return "healthy"  # rule 3
    return "unhealthy" if service.get("health_status") == "unhealthy" else "expired"


def level_of(state: str) -> str:
    """Return the level of a state. If it has two words, as in `drained, starting`, the first one decides."""
    known = HEALTH_STATES.get(state.partition(",")[0])
    return known.level if known else BAD
