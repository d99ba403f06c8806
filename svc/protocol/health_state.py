"""What becomes of a service, in one word: the same in every command, on the page and in the docs. Pure."""

from collections.abc import Mapping
from typing import Any, NamedTuple

GOOD, WARNING, BAD = "good", "warning", "bad"


class Word(NamedTuple):
    level: str  # good, warning: it will pass or somebody wanted it, bad: somebody should look
    meaning: str


WORDS = {
    "healthy": Word(GOOD, "it gets requests"),
    "starting": Word(WARNING, "its model loads, or supervisord is about to start it again"),
    "draining": Word(WARNING, "it gets nothing new: it hangs, or is about to stop"),
    "stopping": Word(WARNING, "somebody is stopping it"),
    "stopped": Word(WARNING, "somebody has stopped it"),
    "drained": Word(WARNING, "by `svc drain` or on the page: it gets nothing new until `svc undrain`"),
    "ejected": Word(BAD, "requests to it failed: the router keeps away from it for a while"),
    "unhealthy": Word(BAD, "it fails the registry's health checks, or the router's"),
    "expired": Word(BAD, "nothing was heard of it for as long as its lease"),
    "failed": Word(BAD, "it was given up after too many restarts"),
    "unrouted": Word(BAD, "the registry calls it healthy, but the router does not use it"),
}


def state_of(service: Mapping[str, Any]) -> str:
    """Of a service as the registry lists it.

    1. What the operator said, and 2. what it says of itself, and 3. what becomes of one that says it is running.
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
    """What to think of a state; of `drained, starting` and the like it is the first word that counts."""
    known = WORDS.get(state.partition(",")[0])
    return known.level if known else BAD
