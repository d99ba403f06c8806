"""`svc events`: what happened."""

import json
import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import click
from rich.text import Text

from svc.access import Access, Away, explained, registry_options
from svc.client import RegistryClient
from svc.event import KINDS
from svc.options import console
from svc.state import BAD, GOOD, WARNING

COLOURS = {GOOD: "green", WARNING: "yellow", BAD: "red"}
WAIT = 30.0  # seconds that the registry may keep us waiting
AGAIN = 1.0  # seconds until the next try while it is away
LIMIT = 1000  # events of one answer, at most


@click.command("events")
@click.option("-f", "--follow", is_flag=True, help="go on with what happens, until Ctrl-C")
@click.option("-n", "count", type=click.IntRange(0, LIMIT), default=20, show_default=True, help="the last so many")
@click.option("--service", metavar="NAME", default="", help="only what happened to this one")
@click.option("--kind", "kinds", type=click.Choice(list(KINDS)), multiple=True, metavar="KIND", help="only these")
@click.option("--json", "as_json", is_flag=True, help="one object a line, for programs")
@registry_options
def command(
    access: Access, follow: bool, count: int, service: str, kinds: tuple[str, ...], as_json: bool
) -> None:  # fmt: skip
    """Show what happened: who registered, left, was ejected or restarted, and why.

    The registry keeps the last 1000 events, through restarts of its own. --json prints each as
    GET /events has it: id, time, kind, service, source, message, level. docs/EVENTS.md lists the kinds.
    """
    client = access.client(read=True)
    only = {name: told for name, told in (("service", service), ("kind", ",".join(kinds))) if told}
    with explained("tell what happened", client):
        found, last = client.events(limit=max(count, 1), only=only)
    show(found[-count:] if count else [], as_json)
    if not follow:
        if not found:
            click.echo("nothing like this has happened yet" if only else "nothing has happened yet", err=True)
        return
    _follow(client, last, only, as_json)


def _follow(client: RegistryClient, last: int, only: dict[str, str], as_json: bool) -> None:
    """For ever. While no registry answers, nothing is missed: they are asked for what came after the last one."""
    away = False
    while True:
        try:
            with explained("follow what happens", client):
                found, last = client.events(last, LIMIT, WAIT, only)
        except Away as error:
            if not away:
                click.echo(f"svc: {error.message}; trying again", err=True)
            away = True
            time.sleep(AGAIN)
            continue
        if away:
            click.echo("svc: the registry is back", err=True)
        away = False
        show(found, as_json)


def show(events: Iterable[dict[str, Any]], as_json: bool) -> None:
    out = console()
    for event in events:
        if as_json:
            click.echo(json.dumps(event))
        else:
            out.print(line(event), soft_wrap=True)


def line(event: dict[str, Any]) -> Text:
    """As people read it, in their own time."""
    when = datetime.fromisoformat(event["time"].replace("Z", "+00:00")).astimezone()
    told = Text(f"{when:%m-%d %H:%M:%S}  ", style="dim")
    told.append(f"{event['kind']:11}", style=COLOURS.get(event["level"], ""))
    told.append(event["service"], style="not dim bold")
    if event["message"]:
        told.append(f"  {event['message']}", style="not dim")
    if event["source"] != "registry":
        told.append(f"  ({event['source']})")
    return told
