"""Events of services, which the registry records and which routers and babysitters report to it. Pure."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from svc.protocol.health_state import BAD, GOOD, INFO, WARNING
from svc.protocol.service import STATUSES, Service, iso

MAX_MESSAGE_LENGTH = 500
REGISTRY_SOURCE = "registry"  # only the registry itself may use this source
BABYSITTER_SOURCE = "babysitter"
ROUTER_SOURCE = "router"  # a router with a name has the source router-NAME
OPERATOR_SOURCE = "operator"  # a command of an operator
OPERATOR_TOKEN_HEADER = "X-Operator-Token"  # noqa: S105 - the name of a header; its value is the registry's write token
OPERATOR_USER_HEADER = "X-Operator-User"  # names the system user who runs a command; nothing proves the name
UNVERIFIED = "unverified"  # actor of a client on another machine without a write token; @ADDRESS follows
LOCAL_PROGRAM = "local"  # actor of a program on the registry's machine that names no user
BY_OPERATOR = "by an operator"
ACTOR_PREFIX = "actor:"  # `reporter_of` returns this and the actor's name for an event of the audit


class EventKind(NamedTuple):
    """A kind of event; the documents and the registry's page show its meaning."""

    level: str  # info, good, warning or bad
    reporters: str  # the programs that report this kind: registry, router, babysitter, operator (a command)
    meaning: str


EVENT_KINDS = {
    "started": EventKind(INFO, "registry, router", "the registry was restarted, or this router was started"),
    "registered": EventKind(INFO, "registry", "a service registered, for the first time or at another address"),
    "left": EventKind(
        INFO, "registry", "it deregistered, was removed, or was silent for so long that the registry forgot it"
    ),
    "expired": EventKind(BAD, "registry", "no heartbeat arrived for the whole lease"),
    "back": EventKind(GOOD, "registry", "heartbeats arrive again"),
    "starting": EventKind(INFO, "registry", "it reports that it is starting"),
    "exited": EventKind(WARNING, "registry", "its process ended and will be restarted; the message says why"),
    "running": EventKind(GOOD, "registry", "it reports that it runs"),
    "draining": EventKind(WARNING, "registry", "it reports that it takes no new requests"),
    "stopping": EventKind(INFO, "registry", "it reports that it is stopping"),
    "stopped": EventKind(INFO, "registry", "it reports that it was stopped"),
    "asleep": EventKind(INFO, "registry", "it reports that it sleeps until a request needs it"),
    "failed": EventKind(
        BAD, "registry", "it is not restarted any more, after too many restarts; the message says why it ended last"
    ),
    "status": EventKind(WARNING, "registry", "it reports a status that counts as not running; the message names it"),
    "drained": EventKind(WARNING, "registry", "an operator drained it"),
    "handover": EventKind(
        WARNING, "registry", "an operator drained it, and routers move its streams to other instances"
    ),
    "undrained": EventKind(INFO, "registry", "an operator ended its drain"),
    "unhealthy": EventKind(BAD, "registry", "it fails the registry's health checks"),
    "healthy": EventKind(GOOD, "registry", "it passes these health checks again"),
    "restarted": EventKind(WARNING, "babysitter", "its process ended and was restarted; the message says why"),
    "woken": EventKind(
        INFO,
        "babysitter",
        "it was asleep and serves again; the message says how long requests had waited before the load, and how long "
        "the load took",
    ),
    "slept": EventKind(INFO, "babysitter", "it was put to sleep; the message says why and how long that took"),
    "ejected": EventKind(BAD, "router", "requests to it failed: the router sends it none for a while"),
    "poisoned": EventKind(BAD, "router", "it died while it served a request that had killed another instance before"),
    "resumed": EventKind(INFO, "router", "it broke off answers, which other instances have continued"),
    "resume-failed": EventKind(BAD, "router", "it broke off answers that could not be continued; the message says why"),
    "wake": EventKind(
        INFO, "router, operator", "a router asks its babysitter to wake it, for requests, by a rule or for an operator"
    ),
    "sleep": EventKind(INFO, "router, operator", "an operator has asked its babysitter to put it to sleep"),
    "readmitted": EventKind(GOOD, "router", "a trial request succeeded: it gets requests again"),
    "failing": EventKind(BAD, "router", "it fails the router's own health checks"),
    "passing": EventKind(GOOD, "router", "it passes these health checks again"),
    "released": EventKind(INFO, "registry", "an operator ended the leases that a degraded registry had kept"),
    "rollout": EventKind(INFO, "operator", "`svc apply` or `svc rollout restart` ended; the message says how"),
    "key-added": EventKind(INFO, "operator", "`svc keys` added an API key of the router"),
    "key-changed": EventKind(INFO, "operator", "`svc keys` changed an API key"),
    "key-revoked": EventKind(INFO, "operator", "`svc keys` revoked an API key"),
}
REPORTED_KINDS = frozenset(  # the kinds that POST /events accepts
    kind for kind, (_, reporters, _) in EVENT_KINDS.items() if reporters != "registry"
)


class Actor(NamedTuple):
    """The actor of an operator's action, and its address.

    `name` is the name of the operator's token (`operator` for a token without a name), `user:NAME` for a command on the
    registry's machine, LOCAL_PROGRAM, or `unverified@ADDRESS` for a client without a write token on another machine.
    """

    name: str
    address: str
    claim: str = ""  # the system user that an unverified client names

    @property
    def text(self) -> str:
        name = "an operator" if self.name in (OPERATOR_SOURCE, LOCAL_PROGRAM) else self.name.partition("@")[0]
        return f"by {name}{f' {self.claim}' if self.claim else ''} at {self.address}"


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One event of one service. The registry gives each event the next `id`.

    An event with an actor belongs to the audit: the store keeps it longer than others.
    """

    id: int = 0
    time: float  # Unix seconds
    kind: str
    service: str
    # registry, babysitter or router-NAME; the registry appends @ADDRESS if it cannot verify the reporter
    source: str = REGISTRY_SOURCE
    message: str = ""  # a sentence without the service's name
    actor: str = ""  # Actor.name, if an operator's action caused the event
    address: str = ""  # Actor.address

    def to_json(self) -> dict[str, Any]:
        """Return the event as `GET /events` shows it, with `time` in ISO 8601 and the level of its kind."""
        fields = {**msgspec.to_builtins(self), "time": iso(self.time), "level": level_of(self.kind)}
        return fields if self.actor else {key: fields[key] for key in fields if key not in ("actor", "address")}

    def by(self, actor: Actor) -> "Event":
        """Return the event as an event of the audit, with this actor also at the end of its message."""
        cause = "" if self.message == BY_OPERATOR else self.message
        cause = cause[: MAX_MESSAGE_LENGTH - len(actor.text) - 2]
        message = f"{cause}; {actor.text}" if cause else actor.text
        return msgspec.structs.replace(self, message=message, actor=actor.name, address=actor.address)


def reporter_of(event: Event) -> str:
    """Return the reporter of an event: an address, a babysitter, a router, or the actor of an event of the audit.

    The store keeps a limited number of events of each reporter, so that no reporter can displace the events of others.
    All unverified actors together are one reporter, because one client may have any number of addresses.
    """
    if event.actor:
        return f"{ACTOR_PREFIX}{event.actor.partition('@')[0]}"
    if event.source == BABYSITTER_SOURCE:
        return f"{event.source}:{event.service}"
    source, _, address = event.source.partition("@")
    return address or source


def events_between(
    old: Service | None, new: Service | None, now: float, why: str = "", actor: Actor | None = None
) -> list[Event]:
    """Return the events for the change of a service from `old` to `new`; None means "not registered".

    `why` is the message of the event if the service has left the registry.
    With an `actor`, an operator has made the change, and its events belong to the audit.
    """
    service = new or old
    assert service is not None
    changes = _changes(old, new, now, why)
    events = [Event(time=now, kind=kind, service=service.name, message=message) for kind, message in changes]
    return [event.by(actor) for event in events] if actor else events


def _changes(old: Service | None, new: Service | None, now: float, why: str) -> Iterator[tuple[str, str]]:
    """Yield the kind and message of each event. A new service has one event, which also reports its state."""
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
        yield _status_change(old, new)
    if (new.drained, new.handover) != (old.drained, old.handover):
        yield drain_kind(new.drained, new.handover), BY_OPERATOR
    if new.health_status == "unhealthy" != old.health_status:
        yield "unhealthy", f"its check fails: {new.health_url()}"
    if new.health_status == "healthy" and old.health_status == "unhealthy":
        yield "healthy", ""


def _status_change(old: Service, new: Service) -> tuple[str, str]:
    """Return the kind and message of the event for a changed status.

    The babysitter adds a restart reason to the metadata if the process ended unexpectedly. Its status was `running`
    before, or `draining` if it hung.
    """
    restart_reason = new.metadata.get("restart_reason")
    reason = one_line(restart_reason) if isinstance(restart_reason, str) else ""
    if new.status not in STATUSES:
        return "status", f"{new.status}; it was {old.status}"
    if reason and new.status == "starting" and old.status in ("running", "draining"):
        return "exited", reason
    return new.status, (reason if new.status == "failed" else "") or f"it was {old.status}"


def drain_kind(drained: bool, handover: bool) -> str:
    """Return the kind of the event for a service that an operator has drained or undrained."""
    if not drained:
        return "undrained"
    return "handover" if handover else "drained"


def one_line(text: str) -> str:
    """Return the text as one line of at most MAX_MESSAGE_LENGTH characters, without control characters."""
    printable = "".join(c if c.isprintable() or c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return " ".join(printable.split())[:MAX_MESSAGE_LENGTH]


def level_of(kind: str) -> str:
    """Return the level of a kind; info for an unknown kind, which a newer program may report."""
    known = EVENT_KINDS.get(kind)
    return known.level if known else INFO
