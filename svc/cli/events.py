"""`svc events`: what happened to the services, and what happens next."""

import time
from collections.abc import Collection, Iterable

import click

from svc.base.errors import CommandError, NotFound
from svc.cli.options import console
from svc.cli.registry_options import Access, registry_options
from svc.client.registry import RegistryClient
from svc.client.service_names import possible_services, service_named
from svc.protocol.event import EVENT_KINDS
from svc.site.access import RegistryUnreachable, explaining_errors
from svc.terminal.event_lines import Event, EventPrinter
from svc.terminal.output import echo

LONG_POLL_SECONDS = 30.0
RETRY_INTERVAL_SECONDS = 1.0  # between requests while no registry answers
MAX_EVENTS = 1000  # the most in one response; a registry keeps no more
NOT_FOUND = "is no registry, or one that is older than events"


def _kinds(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Return the kinds of a repeated option, whose values may be joined by commas as GET /events takes them."""
    kinds = [kind.strip() for value in values for kind in value.split(",") if kind.strip()]
    for kind in kinds:
        if kind not in EVENT_KINDS:
            raise click.BadParameter(f"{kind!r} is no kind; the kinds are {', '.join(EVENT_KINDS)}")
    return tuple(kinds)


@click.command("events", epilog=f"The kinds: {', '.join(EVENT_KINDS)}. docs/EVENTS.md says what each means.")
@click.option("-f", "--follow", is_flag=True, help="go on with what happens, until Ctrl-C")
@click.option("-n", "count", type=click.IntRange(0, MAX_EVENTS), default=20, show_default=True, help="the last so many")
@click.option(
    "--service", metavar="NAME", default="", help="only what happened to it: NAME-server, NAME or NAME:server"
)
@click.option(
    "--kind", "kinds", multiple=True, metavar="KIND[,KIND]", callback=_kinds, help="only these (also said repeatedly)"
)
@click.option("--json", "as_json", is_flag=True, help="one object a line, for programs")
@registry_options
def command(access: Access, follow: bool, count: int, service: str, kinds: tuple[str, ...], as_json: bool) -> None:
    """Show what happened: which services registered, left, were ejected or restarted, and why.

    The registry keeps the last 1000 events, also through its own restarts. --service takes the name of a
    service, that of a babysitter (for it and its instance), or that of a program as supervisorctl writes it.
    --json prints each event as GET /events has it: id, time, kind, service, source, message, level.
    """
    client, printer = access.client(read=True), EventPrinter(console(), as_json)
    only = {"kind": ",".join(kinds)} if kinds else {}
    names = possible_services(service)
    with explaining_errors("list the events", client, NOT_FOUND):
        kept, last = client.events(limit=MAX_EVENTS if names else max(count, 1), only=only)
    events = _events_of(kept, names)
    if names and not events:
        _check_service(client, service, names, follow)
    printer.print(events[-count:] if count else [])
    if not follow:
        if not events:
            echo("nothing like this has happened yet" if only or names else "nothing has happened yet", err=True)
        return
    _follow(client, last, only, names, printer)


def _events_of(events: Iterable[Event], names: Collection[str]) -> list[Event]:
    return [event for event in events if not names or event["service"] in names]


def _check_service(client: RegistryClient, service: str, names: Collection[str], follow: bool) -> None:
    """Raise CommandError for a name that no service has; with `follow`, print a warning instead."""
    with explaining_errors("list the events", client):
        services = {entry["name"]: entry for entry in client.services()}
    if any(name in services for name in names):
        return
    try:
        service_named(service, services)
    except NotFound as error:
        problem = f"no event of {service} is kept, and {error.message}"
        if not follow:
            raise CommandError(problem) from None
        echo(f"svc: {problem}; waiting for it", err=True)


def _follow(
    client: RegistryClient, last: int, only: dict[str, str], names: Collection[str], printer: EventPrinter
) -> None:
    """Print what happens next, for ever.

    No event is lost while no registry answers: each request asks for what came after the last event.
    """
    unreachable = False
    while True:
        try:
            with explaining_errors("follow the events", client, NOT_FOUND):
                # After a failure the response comes at once, so that it is printed soon that the registry is back.
                wait = 0 if unreachable else LONG_POLL_SECONDS
                events, last = client.events(last, MAX_EVENTS, wait, only)
        except RegistryUnreachable as error:
            if not unreachable:
                echo(f"svc: {error.message}; trying again", err=True)
            unreachable = True
            time.sleep(RETRY_INTERVAL_SECONDS)
            continue
        if unreachable:
            echo("svc: the registry is back", err=True)
        unreachable = False
        printer.print(_events_of(events, names))
