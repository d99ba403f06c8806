"""`svc events`: show what happened to the services, and follow new events."""

import time

import click

from svc.base.local_time import parse_time
from svc.cli.name_completers import services
from svc.cli.options import console
from svc.cli.registry_options import Access, registry_options
from svc.client.service_names import possible_services
from svc.protocol.event import EVENT_KINDS
from svc.site.access import explaining_errors
from svc.site.event_watch import (
    MAX_EVENTS,
    MAX_KEPT_EVENTS,
    NOT_FOUND,
    events_of,
    events_since,
    follow_events,
    require_service,
)
from svc.terminal.event_lines import EventPrinter
from svc.terminal.output import echo

DEFAULT_COUNT = 20


def _kinds(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Return the kinds in all values of a repeated option; a value may contain several kinds, separated by commas."""
    kinds = [kind.strip() for value in values for kind in value.split(",") if kind.strip()]
    for kind in kinds:
        if kind not in EVENT_KINDS:
            raise click.BadParameter(f"{kind!r} is no kind; the kinds are {', '.join(EVENT_KINDS)}")
    return tuple(kinds)


def _since(_context: click.Context, _option: click.Parameter, value: str | None) -> float | None:
    try:
        return None if value is None else parse_time(value, time.time())
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command("events", epilog=f"The kinds: {', '.join(EVENT_KINDS)}. docs/EVENTS.md says what each means.")
@click.option("-f", "--follow", is_flag=True, help="go on with new events, until Ctrl-C")
@click.option("-n", "count", type=click.IntRange(0, MAX_EVENTS), default=None, help="the last N  [default: 20]")
@click.option(
    "--service",
    metavar="NAME",
    default="",
    help="only events of this one: NAME-server, NAME or NAME:server",
    shell_complete=services,
)
@click.option(
    "--kind", "kinds", multiple=True, metavar="KIND[,KIND]", callback=_kinds, help="only these kinds; may be repeated"
)
@click.option("--audit", is_flag=True, help="only what operators did: who, from which address, when")
@click.option(
    "--since", callback=_since, metavar="TIME", help="all since then: 2026-12-01, 24h, 7d, today  [default: the last N]"
)
@click.option("--json", "as_json", is_flag=True, help="for programs: one object a line")
@registry_options
def command(
    access: Access,
    follow: bool,
    count: int | None,
    service: str,
    kinds: tuple[str, ...],
    audit: bool,
    since: float | None,
    as_json: bool,
) -> None:
    """Show what happened to the services, and why.

    Services register, leave, are ejected or restarted. The registry keeps the last 1000 events, also when it restarts.
    --service takes the name of a service, of a babysitter (which selects its instance too), or of a program as
    supervisorctl writes it. --audit shows what operators did (drain, undrain, remove, apply, restart, API keys); the
    registry keeps 5000 of these events, for 400 days. --json prints each event as GET /events returns it: id, time,
    kind, service, source, message, level, and with --audit actor and address.
    """
    client, printer = access.client(read=True), EventPrinter(console(), as_json)
    only = {**({"kind": ",".join(kinds)} if kinds else {}), **({"audit": "true"} if audit else {})}
    names = possible_services(service)
    if count is None:
        count = DEFAULT_COUNT if since is None else MAX_KEPT_EVENTS
    with explaining_errors("list the events", client, NOT_FOUND):
        if since is None:
            kept, last = client.events(limit=MAX_EVENTS if names else max(count, 1), only=only)
        else:
            kept, last = events_since(client, since, only)
    events = events_of(kept, names)
    if names and not events:
        require_service(client, service, names, follow)
    printer.print(events[-count:] if count else [])
    if not follow:
        if not events:
            only_some = only or names or since is not None
            echo("nothing like this has happened yet" if only_some else "nothing has happened yet", err=True)
        return
    follow_events(client, last, only, names, printer)
