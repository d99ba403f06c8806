"""What routers and babysitters report: whose events they are, and how many one of them may send.

The source says the role, and so the kinds of events. `router` or `router-NAME` is
believed from whoever may write to the registry; any other is known by its address,
which is added: `router-NAME@ADDRESS`. `babysitter` is believed with the secret of
the services that its events are about.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from msgspec.structs import replace

from svc.errors import BadRequest
from svc.event import BABYSITTER_SOURCE, KINDS, OWN_SOURCE, ROUTER_SOURCE, TOLD, Event, plain
from svc.registry import fields, owner
from svc.registry.rates import Rates
from svc.registry.store import Store

MAX_EVENTS_PER_REQUEST = 100
SOURCE = re.compile(rf"{BABYSITTER_SOURCE}|{ROUTER_SOURCE}(-[A-Za-z0-9_.-]{{1,121}})?")


class Reporter(NamedTuple):
    """Who sends events: the secret or the token that was shown, the address, and whether any name is believed."""

    caller: owner.Caller
    address: str
    believed: bool


class Reports:
    """Takes reports into the store, each reporter's at its own rate."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._rates = Rates(clock)

    def take(self, body: Mapping[str, Any], reporter: Reporter, now: float) -> list[Event]:
        """Return the events as they are kept; raises BadRequest, Forbidden and RateLimited."""
        events = [with_proven_source(event, reporter) for event in parse(body, now)]
        owned = self._owns(reporter.caller, {event.service for event in events if event.source == BABYSITTER_SOURCE})
        self._rates.take(reporter.caller if owned and reporter.caller else reporter.address, len(events))
        return self._store.tell(events)

    def _owns(self, caller: owner.Caller, names: set[str]) -> bool:
        """Return whether one of the services is the caller's; raises Forbidden where one is another's."""
        services = [service for name in names if (service := self._store.get(name))]
        for service in services:
            owner.check(service, caller)
        return any(service.owner == caller for service in services)


def with_proven_source(event: Event, reporter: Reporter) -> Event:
    """Return the event with what is certain of its source."""
    if reporter.believed or event.source == BABYSITTER_SOURCE:
        return event
    return replace(event, source=f"{event.source}@{reporter.address}")


def parse(body: Mapping[str, Any], now: float) -> list[Event]:
    """Return the events of a POST; raises BadRequest for what is none of a router or babysitter."""
    events = body.get("events")
    if not isinstance(events, list) or not 0 < len(events) <= MAX_EVENTS_PER_REQUEST:
        raise BadRequest(f"events: must be a list of 1 to {MAX_EVENTS_PER_REQUEST} events", param="events")
    return [_event(f"events[{at}]", event, now) for at, event in enumerate(events)]


def _event(where: str, event: Any, now: float) -> Event:
    if not isinstance(event, dict):
        raise BadRequest(f"{where}: must be an object", param="events")
    kind, service, source, message = (event.get(key, "") for key in ("kind", "service", "source", "message"))
    if not isinstance(kind, str) or kind not in TOLD:
        raise BadRequest(f"{where}.kind: must be one of {' '.join(sorted(TOLD))}", param="events")
    if not isinstance(service, str) or not fields.NAME.fullmatch(service):
        raise BadRequest(f"{where}.service: must be a service's name", param="events")
    if service == OWN_SOURCE or (kind == "started" and service != ROUTER_SOURCE):
        raise BadRequest(f"{where}.service: {kind} of {service} is what the registry says itself", param="events")
    if not isinstance(source, str) or not SOURCE.fullmatch(source):
        raise BadRequest(f"{where}.source: must be router, router-NAME or babysitter", param="events")
    if source.partition("-")[0] not in KINDS[kind].by.split(", "):
        raise BadRequest(f"{where}.kind: {kind} is what a {KINDS[kind].by} reports, not {source}", param="events")
    if not isinstance(message, str):
        raise BadRequest(f"{where}.message: must be text", param="events")
    return Event(time=now, kind=kind, service=service, source=source, message=plain(message))
