"""Accept events from routers, babysitters and operators' commands: verify the source and limit the rate.

The `source` of an event is the role of its reporter: `babysitter`, `router`, `router-NAME`, or `operator` for a command
that an operator has run. Each role may report only some kinds of events. A source is verified in two cases.

1. The client is on this machine, or sends the write token and no secret.
2. The source is `babysitter`, and the client sends the secret with which the event's service was registered.

The registry adds the client's address to a source that is not verified: `router-NAME@ADDRESS`. Events with the source
`operator` belong to the audit, and get the actor of the request.
"""

import math
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from msgspec.structs import replace

from svc.base.errors import BadRequest, RateLimited
from svc.protocol.event import (
    BABYSITTER_SOURCE,
    EVENT_KINDS,
    OPERATOR_SOURCE,
    REGISTRY_SOURCE,
    REPORTED_KINDS,
    ROUTER_SOURCE,
    Actor,
    Event,
    one_line,
)
from svc.registry import validation
from svc.registry.access.identity import Client
from svc.registry.access.rate_limit import BURST_EVENTS, EVENTS_PER_SECOND, EventRateLimiter
from svc.registry.leases import owner
from svc.registry.store.contract import Store

MAX_EVENTS_PER_REQUEST = 100
SOURCE_PATTERN = re.compile(rf"{BABYSITTER_SOURCE}|{OPERATOR_SOURCE}|{ROUTER_SOURCE}(-[A-Za-z0-9_.-]{{1,121}})?")


class EventReceiver:
    """Adds reported events to the store, within the rate limit of each reporter."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._limiter = EventRateLimiter(clock)

    def receive(self, body: Mapping[str, Any], client: Client, actor: Actor, now: float) -> list[Event]:
        """Store the events in `body` and return the stored events; raise BadRequest, Forbidden or RateLimited."""
        events = [event.by(actor) if event.source == OPERATOR_SOURCE else event for event in parse_events(body, now)]
        owned = self._owned(client.caller, {event.service for event in events if event.source == BABYSITTER_SOURCE})
        events = [with_verified_source(event, client, owned) for event in events]
        reporter = client.secret_digest if owned else client.source_address
        if any(event.actor for event in events):
            # Operators have a bucket of their own, which a router at the same address cannot empty.
            reporter = f"{OPERATOR_SOURCE} {reporter}"
        if wait := self._limiter.acquire(reporter, len(events)):
            raise RateLimited(rate_limit_message(client.source_address, wait), retry_after=wait)
        return self._store.add_events(events)

    def _owned(self, caller: owner.Caller, names: set[str]) -> set[str]:
        """Return the names of the services in `names` that the caller owns; raise Forbidden if another owns one."""
        services = [service for name in names if (service := self._store.get(name))]
        for service in services:
            owner.check(service, caller)
        return {service.name for service in services if caller and service.owner == caller}


def with_verified_source(event: Event, client: Client, owned: Collection[str]) -> Event:
    """Return the event, with the client's address added to its source if the source is not verified."""
    is_trusted = client.is_local or client.caller is owner.OPERATOR
    if is_trusted or (event.source == BABYSITTER_SOURCE and event.service in owned):
        return event
    return replace(event, source=f"{event.source}@{client.source_address}")


def rate_limit_message(address: str, wait: float) -> str:
    """Return the error message for a reporter that exceeds its rate limit."""
    return (
        f"{address} sent more than {BURST_EVENTS:.0f} events at once or {EVENTS_PER_SECOND * 60:.0f} a minute; "
        f"send again in {math.ceil(wait)} s"
    )


def parse_events(body: Mapping[str, Any], now: float) -> list[Event]:
    """Return the events in the body of a POST, with the time `now`.

    Raise BadRequest if an event is invalid, or of a kind that its source may not report.
    """
    events = body.get("events")
    if not isinstance(events, list) or not 0 < len(events) <= MAX_EVENTS_PER_REQUEST:
        raise _invalid("events", f"must be a list of 1 to {MAX_EVENTS_PER_REQUEST} events")
    return [_event(f"events[{index}]", event, now) for index, event in enumerate(events)]


def _event(place: str, event: Any, now: float) -> Event:
    if not isinstance(event, dict):
        raise _invalid(place, "must be an object")
    kind, service, source, message = (event.get(key, "") for key in ("kind", "service", "source", "message"))
    if not isinstance(kind, str) or kind not in REPORTED_KINDS:
        raise _invalid(f"{place}.kind", f"must be one of {' '.join(sorted(REPORTED_KINDS))}")
    if not isinstance(service, str) or not validation.NAME_PATTERN.fullmatch(service):
        raise _invalid(f"{place}.service", "must be a service's name")
    if service == REGISTRY_SOURCE or (kind == "started" and service != ROUTER_SOURCE):
        raise _invalid(f"{place}.service", f"only the registry reports {kind} for {service}; leave it out")
    if not isinstance(source, str) or not SOURCE_PATTERN.fullmatch(source):
        raise _invalid(f"{place}.source", "must be router, router-NAME, babysitter or operator")
    if source.partition("-")[0] not in EVENT_KINDS[kind].reporters.split(", "):
        raise _invalid(
            f"{place}.kind", f"only a {EVENT_KINDS[kind].reporters} reports {kind}, and the source is {source}"
        )
    if not isinstance(message, str):
        raise _invalid(f"{place}.message", "must be text")
    return Event(time=now, kind=kind, service=service, source=source, message=one_line(message))


def _invalid(place: str, problem: str) -> BadRequest:
    return BadRequest(f"{place}: {problem}", param="events")
