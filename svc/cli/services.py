"""`svc services`: show the services that the registry lists, follow their changes, and add one without a babysitter."""

import json
import time
from typing import Any

import click

from svc.base.address import without_brackets
from svc.cli.group import CommandGroup
from svc.cli.name_completers import services as complete_services
from svc.cli.options import console
from svc.cli.registry_options import Access, registry_options
from svc.client.manual_registration import PlainService, registration
from svc.client.service_names import service_named
from svc.protocol.service import INSTANCE_TYPE
from svc.site import service_watch
from svc.site.access import explaining_errors
from svc.site.service_watch import NOT_FOUND, services_by_name
from svc.terminal import services_table
from svc.terminal.output import echo, echo_json
from svc.terminal.screen import width_of

json_option = click.option("--json", "as_json", is_flag=True, help="for programs")


class ListByDefault(CommandGroup):
    """A group that runs `list` when no subcommand is given."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Insert `list` before arguments that contain no subcommand."""
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)

    def nearest(self, ctx: click.Context, word: str) -> str:
        """Return the command with the most similar spelling, else `show`, because the word may be a service's name."""
        return super().nearest(ctx, word) or f"show {word}"


@click.group("services", cls=ListByDefault)
def command() -> None:
    """Show the services that the registry lists.

    \b
    STATE is the state of a service:
      healthy    instances get requests
      drained    by `svc drain`: no new requests, until `svc undrain`
      unhealthy  it fails the registry's checks
      expired    no heartbeat arrived for the whole lease
    or the state that it reports itself: starting, asleep, stopping, stopped, failed.
    """


@command.command("list")
@json_option
@registry_options
def show_list(access: Access, as_json: bool) -> None:
    """Show a table of all services; `svc services` alone does the same.

    --json prints {"services": [...], "total", "index"}, each service as the registry lists it.
    """
    client = access.client(read=True)
    with explaining_errors("list the services", client, NOT_FOUND):
        service_list = client.list_services()
        services = [service for _, service in sorted(services_by_name(service_list).items())]
    if as_json:
        echo_json({"services": services, "total": len(services), "index": service_list.index}, indent=2)
    elif services:
        out = console()
        for line in services_table.service_lines(services, time.time(), width_of(out)):
            out.print_line(line)
    else:
        echo(f"no service is registered at {service_list.url}", err=True)


@command.command()
@click.argument("name", shell_complete=complete_services)
@json_option
@registry_options
def show(access: Access, name: str, as_json: bool) -> None:
    """Show everything that the registry lists about the service NAME.

    --json prints the registry's entry of the service.
    """
    client = access.client(read=True)
    with explaining_errors(f"show {name}", client, NOT_FOUND):
        services = services_by_name(client.list_services())
    service = services[service_named(name, services)]
    if as_json:
        echo_json(service, indent=2)
        return
    for key, value in services_table.service_details(service, time.time()):
        echo(f"{key:15} {value}")


@command.command()
@json_option
@registry_options
def watch(access: Access, as_json: bool) -> None:
    """Print a line for each service, then a line for each change as it comes, until Ctrl-C.

    --json prints one object a line: time, name, change (a text), and service as the
    registry lists it now (null once it is removed).
    """
    service_watch.watch(access.client(read=True), as_json)


@command.command()
@click.argument("name")
@click.argument("host")
@click.argument("port", type=click.IntRange(1, 65535))
@click.option("--model", "models", multiple=True, metavar="ID", help="a model that it serves; repeatable  [its list]")
@click.option("--health-path", metavar="PATH", help="path that answers 200 while it works  [/health, or its list]")
@click.option("--weight", type=click.IntRange(0, 1000), default=1, help="its share of the requests  [1]")
@click.option("--type", "kind", default=INSTANCE_TYPE, help=f"routers use only {INSTANCE_TYPE}  [{INSTANCE_TYPE}]")
@click.option("--metadata", metavar="JSON", default="{}", help='more metadata, such as {"cache_type": "paged"}')
@registry_options
def add(
    access: Access,
    name: str,
    host: str,
    port: int,
    models: tuple[str, ...],
    health_path: str | None,
    weight: int,
    kind: str,
    metadata: str,
) -> None:
    """Add a service that has no babysitter: an API elsewhere, or a server that another program runs.

    It needs no heartbeats and stays until `svc remove NAME`. The health checks of registry and routers decide whether
    it gets requests. Its models are read once; run the command again when they change.
    """
    if health_path is not None and not health_path.startswith("/"):
        raise click.BadParameter(f"must begin with /, not {health_path!r}", param_hint="--health-path")
    service = PlainService(
        name=name,
        host=without_brackets(host),
        port=port,
        type=kind,
        models=models,
        health_path=health_path or "",
        weight=weight,
        metadata=_json_object(metadata),
    )
    fields = registration(service)
    client = access.client()
    with explaining_errors(f"add {name}", client, NOT_FOUND):
        client.register(fields)
    listed = ", ".join(fields["metadata"].get("models", ()))
    echo(f"{name} is registered, at {service.url}{f': {listed}' if listed else ''}")
    echo(f"health checks ask {fields['metadata']['health_url']}")


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"is no JSON: {error}", param_hint="--metadata") from None
    if not isinstance(value, dict):
        raise click.BadParameter("must be an object, {...}", param_hint="--metadata")
    return value


@command.command()
@registry_options
def expire(access: Access) -> None:
    """End the leases that a degraded registry keeps, for services that are really gone.

    When many leases would end at once, the likelier cause is the registry's own network. So the
    registry keeps the leases and reports itself degraded, until heartbeats arrive again or this
    command is run.
    """
    client = access.client()
    with explaining_errors("end the leases", client, f"{NOT_FOUND}, or one that is older than this"):
        names = client.end_kept_leases()
    echo(f"{len(names)} leases ended{': ' if names else ''}{', '.join(names)}")
