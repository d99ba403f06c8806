"""`svc events`: what happened."""

import time
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

import click
from rich.text import Text

from svc.base.errors import CommandError, NotFound
from svc.cli.access import Access, registry_options
from svc.cli.options import console
from svc.client.registry import RegistryClient
from svc.protocol.event import KINDS
from svc.protocol.health_state import BAD, GOOD, WARNING
from svc.protocol.instance_names import instance_service
from svc.site.access import RegistryUnreachable, explained
from svc.terminal import services_table
from svc.terminal.output import echo, echo_json

COLOURS = {GOOD: "green", WARNING: "yellow", BAD: "red"}
WAIT = 30.0  # seconds that the registry may keep us waiting
AGAIN = 1.0  # seconds until the next try while it is away
LIMIT = 1000  # events of one answer at most, and as many as a registry keeps
WIDEST = 32  # columns for the service, however long names are
OLDER = "is no registry, or one that is older than events"

Told = dict[str, Any]  # an event as GET /events has it


def _kinds(context: click.Context, option: click.Parameter, told: tuple[str, ...]) -> tuple[str, ...]:
    """Said several times, or joined by commas as GET /events takes them."""
    found = [kind.strip() for several in told for kind in several.split(",") if kind.strip()]
    for kind in found:
        if kind not in KINDS:
            raise click.BadParameter(f"{kind!r} is no kind; the kinds are {', '.join(KINDS)}")
    return tuple(found)


@click.command("events", epilog=f"The kinds: {', '.join(KINDS)}. docs/EVENTS.md says what each means.")
@click.option("-f", "--follow", is_flag=True, help="go on with what happens, until Ctrl-C")
@click.option("-n", "count", type=click.IntRange(0, LIMIT), default=20, show_default=True, help="the last so many")
@click.option(
    "--service", metavar="NAME", default="", help="only what happened to it: NAME-server, NAME or NAME:server"
)
@click.option(
    "--kind", "kinds", multiple=True, metavar="KIND[,KIND]", callback=_kinds, help="only these (also said repeatedly)"
)
@click.option("--json", "as_json", is_flag=True, help="one object a line, for programs")
@registry_options
def command(access: Access, follow: bool, count: int, service: str, kinds: tuple[str, ...], as_json: bool) -> None:
    """Show what happened: who registered, left, was ejected or restarted, and why.

    The registry keeps the last 1000 events, through restarts of its own. --service takes a service's
    name, a babysitter's for it and its instance, and a program's as supervisorctl writes it. --json prints
    each event as GET /events has it: id, time, kind, service, source, message, level.
    """
    client, only, shown = access.client(read=True), {"kind": ",".join(kinds)} if kinds else {}, Shown(as_json)
    names = meant(service)
    with explained("tell what happened", client, OLDER):
        found, last = client.events(limit=LIMIT if names else max(count, 1), only=only)
    found = _of(found, names)
    if names and not found:
        _known(client, service, names, follow)
    shown.show(found[-count:] if count else [])
    if not follow:
        if not found:
            echo("nothing like this has happened yet" if only or names else "nothing has happened yet", err=True)
        return
    _follow(client, last, only, names, shown)


def meant(service: str) -> frozenset[str]:
    """The services that a name on the command line means, empty for all: a babysitter's is its instance's as well."""
    name, colon, program = service.partition(":")
    if colon and program in ("server", "babysitter"):
        return frozenset([instance_service(name) if program == "server" else name])
    return frozenset([service, instance_service(service)]) if service else frozenset()


def _of(events: Iterable[Told], names: Collection[str]) -> list[Told]:
    return [event for event in events if not names or event["service"] in names]


def _known(client: RegistryClient, service: str, names: Collection[str], follow: bool) -> None:
    """Raises CommandError for a name that nothing has; one that is followed may come yet."""
    with explained("tell what happened", client):
        services = {told["name"]: told for told in client.services()}
    if any(name in services for name in names):
        return
    try:
        services_table.known(service, services)
    except NotFound as error:
        told = f"no event of {service} is kept, and {error.message}"
        if not follow:
            raise CommandError(told) from None
        echo(f"svc: {told}; waiting for it", err=True)


def _follow(client: RegistryClient, last: int, only: dict[str, str], names: Collection[str], shown: "Shown") -> None:
    """For ever. While no registry answers, nothing is missed: they are asked for what came after the last one."""
    away = False
    while True:
        try:
            with explained("follow what happens", client, OLDER):
                # One that was away is not waited for until something happens there: that it is back is news.
                found, last = client.events(last, LIMIT, 0 if away else WAIT, only)
        except RegistryUnreachable as error:
            if not away:
                echo(f"svc: {error.message}; trying again", err=True)
            away = True
            time.sleep(AGAIN)
            continue
        if away:
            echo("svc: the registry is back", err=True)
        away = False
        shown.show(_of(found, names))


class Shown:
    """Where events go: columns that stand under each other, or JSON."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._out = console()
        self._width = 0  # of the longest name so far

    def show(self, events: Collection[Told]) -> None:
        self._width = min(WIDEST, max([self._width, *(len(event["service"]) for event in events)]))
        for event in events:
            if self._as_json:
                echo_json(event)
            else:
                self._out.print_line(line(event, self._width))


def line(event: Told, width: int = 0) -> Text:
    """As people read it, in their own time; `width` is that of the service's column."""
    told = Text(f"{_local_time(event['time'])}  ", style="dim")
    told.append(f"{event['kind']:11}", style=COLOURS.get(event["level"], ""))
    told.append(f"{event['service']:{width}}", style="not dim bold")
    if event["message"]:
        told.append(f"  {event['message']}", style="not dim")
    if event["source"] != "registry":
        told.append(f"  ({event['source']})")
    told.rstrip()
    return told


def _local_time(timestamp: str) -> str:
    """Return the time as it is here; what is no time stays as it is."""
    try:
        return f"{datetime.fromisoformat(timestamp.replace('Z', '+00:00')).astimezone():%m-%d %H:%M:%S}"
    except (ValueError, OverflowError):
        return timestamp
