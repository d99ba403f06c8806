"""What happened, as the registry keeps it and everybody tells it. Pure."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from svc.protocol.health_state import BAD, GOOD, WARNING
from svc.protocol.service import Service, iso

INFO = "info"
LONGEST_MESSAGE = 500
OWN_SOURCE = "registry"  # nobody else may call itself so
BABYSITTER_SOURCE = "babysitter"
ROUTER_SOURCE = "router"  # or router-NAME
BY_OPERATOR = "by an operator"


class Kind(NamedTuple):
    level: str  # info, good, warning or bad
    by: str  # who tells it: registry, router, babysitter
    meaning: str


KINDS = {
    "started": Kind(INFO, "registry, router", "the registry was started again, or this router was started"),
    "registered": Kind(INFO, "registry", "a service registered, for the first time or at another address"),
    "left": Kind(INFO, "registry", "it deregistered, was removed, or was silent for so long that it is forgotten"),
    "expired": Kind(BAD, "registry", "nothing was heard of it for as long as its lease"),
    "back": Kind(GOOD, "registry", "it is heard of again"),
    "starting": Kind(INFO, "registry", "it says that it is starting"),
    "exited": Kind(WARNING, "registry", "its process ended, and is to be started again; the message says why"),
    "running": Kind(GOOD, "registry", "it says that it runs"),
    "draining": Kind(WARNING, "registry", "it says that it takes nothing new"),
    "stopping": Kind(INFO, "registry", "it says that it is stopping"),
    "stopped": Kind(INFO, "registry", "it says that it was stopped"),
    "failed": Kind(BAD, "registry", "it was given up after too many restarts; the message says why it ended last"),
    "drained": Kind(WARNING, "registry", "an operator drained it"),
    "undrained": Kind(INFO, "registry", "an operator took it back"),
    "unhealthy": Kind(BAD, "registry", "it fails the registry's health checks"),
    "healthy": Kind(GOOD, "registry", "it passes them again"),
    "restarted": Kind(WARNING, "babysitter", "its process ended and is started again; the message says why"),
    "ejected": Kind(BAD, "router", "requests to it failed: the router keeps away from it for a while"),
    "poisoned": Kind(BAD, "router", "it died while it served a request that another instance had died of, too"),
    "readmitted": Kind(GOOD, "router", "a trial request went well: it gets requests again"),
    "failing": Kind(BAD, "router", "it fails the router's own health checks"),
    "passing": Kind(GOOD, "router", "it passes them again"),
}
TOLD = frozenset(kind for kind, (_, by, _) in KINDS.items() if by != "registry")  # what POST /events takes


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened to one service. `id` rises by one with each, and is the registry's to give."""

    id: int = 0
    time: float  # Unix seconds
    kind: str
    service: str
    source: str = OWN_SOURCE  # registry, babysitter, or router-NAME; with @ADDRESS where only that is verified
    message: str = ""  # a sentence, without the service's name

    def to_json(self) -> dict[str, Any]:
        """As `GET /events` has it: `time` in ISO 8601, and the kind's level."""
        return {**msgspec.to_builtins(self), "time": iso(self.time), "level": level_of(self.kind)}


def reporter_of(event: Event) -> str:
    """Return the reporter in whose share of the store an event is kept: an address, a babysitter or a router."""
    if event.source == BABYSITTER_SOURCE:
        return f"{event.source}:{event.service}"
    source, _, address = event.source.partition("@")
    return address or source


def between(old: Service | None, new: Service | None, now: float, why: str = "") -> list[Event]:
    """What happened to a service of which one became the other; None: it is not registered."""
    service = new or old
    assert service is not None
    told = _happened(old, new, now, why)
    return [Event(time=now, kind=kind, service=service.name, message=message) for kind, message in told]


def _happened(old: Service | None, new: Service | None, now: float, why: str) -> Iterator[tuple[str, str]]:
    """Kinds and messages. What one says of itself as it registers is no news of its own."""
    if new is None:
        yield "left", why
        return
    if old is None or old.url != new.url:
        yield "registered", f"{new.status}, at {new.url}"
    if old is None:
        return
    if new.expired and not old.expired:
        yield "expired", f"silent for {now - new.last_heartbeat:.0f} s"
    if old.expired and not new.expired:
        yield "back", f"{new.status}, at {new.url}"
    if new.status != old.status and old.url == new.url:
        yield _became(old, new)
    if new.drained != old.drained:
        yield ("drained" if new.drained else "undrained"), BY_OPERATOR
    if new.health_status == "unhealthy" != old.health_status:
        yield "unhealthy", f"its check fails: {new.health_url()}"
    if new.health_status == "healthy" and old.health_status == "unhealthy":
        yield "healthy", ""


def _became(old: Service, new: Service) -> tuple[str, str]:
    """Another status. Where there is a reason, nobody has wanted that it ended; it hung before, where it drained."""
    told = new.metadata.get("restart_reason")
    reason = plain(told) if isinstance(told, str) else ""
    if reason and new.status == "starting" and old.status in ("running", "draining"):
        return "exited", reason
    return new.status, (reason if new.status == "failed" else "") or f"it was {old.status}"


def plain(text: str) -> str:
    """Somebody else's words as one line, not too long, that does nothing to a terminal."""
    shown = "".join(c if c.isprintable() or c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return " ".join(shown.split())[:LONGEST_MESSAGE]


def level_of(kind: str) -> str:
    known = KINDS.get(kind)
    return known.level if known else INFO
