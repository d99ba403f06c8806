"""`svc events`: selects the registry's events of a service, and prints new events as they happen."""

from collections.abc import Collection, Iterable
from typing import NoReturn

from svc.base.errors import CommandError, NotFound
from svc.base.local_time import parse_time
from svc.base.signals import KeptInterrupt
from svc.client.registry import Events, RegistryClient
from svc.client.service_names import service_named
from svc.site.access import RegistryUnreachable, explaining_errors
from svc.terminal.event_lines import Event, EventPrinter
from svc.terminal.output import echo

LONG_POLL_SECONDS = 30.0
RETRY_INTERVAL_SECONDS = 1.0  # pause between requests while no registry answers
MAX_EVENTS = 1000  # maximum number of events in one response
MAX_KEPT_EVENTS = 10_000  # more than a registry keeps
NOT_FOUND = "is no registry, or one that is older than events"


def events_of(events: Iterable[Event], service_names: Collection[str]) -> list[Event]:
    """Return the events of these services; without names, return all events."""
    return [event for event in events if not service_names or event["service"] in service_names]


def events_since(client: RegistryClient, since: float, only: dict[str, str]) -> tuple[Events, int]:
    """Return all kept events since a time in Unix seconds, oldest first, and the id after which new ones follow.

    `only` has the query parameters by which the registry selects events.
    """
    selected_events: Events = []
    after = 0
    while True:
        events, last = client.events(after, MAX_EVENTS, 0, only)
        if not events:
            return selected_events, last
        selected_events += [event for event in events if parse_time(event["time"], 0) >= since]
        after = last


def require_service(client: RegistryClient, name: str, service_names: Collection[str], follow: bool) -> None:
    """Raise CommandError if none of the services to which `name` may refer is registered.

    With `follow`, print a warning instead, because the service may still be registered.
    """
    with explaining_errors("list the events", client):
        services = {service["name"]: service for service in client.services()}
    if any(service_name in services for service_name in service_names):
        return
    try:
        service_named(name, services)
    except NotFound as error:
        problem = f"no event of {name} is kept, and {error.message}"
        if not follow:
            raise CommandError(problem) from None
        echo(f"svc: {problem}; waiting for it", err=True)


def follow_events(
    client: RegistryClient, last: int, only: dict[str, str], service_names: Collection[str], printer: EventPrinter
) -> NoReturn:
    """Print the events after the event with the id `last` as they happen, until the command is interrupted.

    Each request asks for the events after the last one received, so what happens while no registry answers is printed
    later. `only` has the query parameters by which the registry selects events.
    """
    with KeptInterrupt() as interrupt:
        unreachable = False
        while True:
            try:
                with explaining_errors("follow the events", client, NOT_FOUND):
                    # After a failure, do not wait for an event, so that its end is reported at once.
                    wait = 0 if unreachable else LONG_POLL_SECONDS
                    events, last = client.events(last, MAX_EVENTS, wait, only)
            except RegistryUnreachable as error:
                if not unreachable:
                    echo(f"svc: {error.message}; trying again", err=True)
                unreachable = True
                interrupt.sleep(RETRY_INTERVAL_SECONDS)
                continue
            if unreachable:
                echo("svc: the registry is back", err=True)
            unreachable = False
            printer.print(events_of(events, service_names))
            interrupt.sleep(0)  # raises KeyboardInterrupt if Ctrl-C was pressed in a finalizer
