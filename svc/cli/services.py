"""`svc services`: the services that the registry lists."""

import time
from typing import Any

import click

from svc.cli.options import console
from svc.cli.registry_options import Access, registry_options
from svc.client.registry_watch import RegistryWatch
from svc.client.service_names import service_named
from svc.protocol.health_state import state_of
from svc.site.access import RegistryUnreachable, explaining_errors
from svc.terminal import services_table
from svc.terminal.output import echo, echo_json
from svc.terminal.screen import width_of

NOT_FOUND = "is no registry"
json_option = click.option("--json", "as_json", is_flag=True, help="for programs")


class ListByDefault(click.Group):
    """A group that runs `list` when no subcommand is given."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `list` in front of arguments without a subcommand."""
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group("services", cls=ListByDefault)
def command() -> None:
    """Show the services that the registry lists: a table, one service, or every change as it comes.

    \b
    STATE is the state of a service:
      healthy    instances get requests
      drained    by `svc drain`: no new requests, until `svc undrain`
      unhealthy  it fails the registry's checks
      expired    no heartbeat arrived for the whole lease
    or the state that it reports itself: starting, stopping, stopped, failed.
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
        registered = services_table.require_registry_list(service_list.services, service_list.url)
    services = sorted(registered, key=lambda service: service["name"])
    if as_json:
        echo_json({"services": services, "total": len(services), "index": service_list.index}, indent=2)
    elif services:
        out = console()
        for line in services_table.service_lines(services, time.time(), width_of(out)):
            out.print_line(line)
    else:
        echo(f"no service is registered at {service_list.url}", err=True)


@command.command()
@click.argument("name")
@json_option
@registry_options
def show(access: Access, name: str, as_json: bool) -> None:
    """Show everything that the registry knows of NAME.

    --json prints it as the registry has it.
    """
    client = access.client(read=True)
    with explaining_errors(f"show {name}", client, NOT_FOUND):
        service_list = client.list_services()
        services = {
            service["name"]: service
            for service in services_table.require_registry_list(service_list.services, service_list.url)
        }
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
    client = access.client(read=True)
    registry_watch = RegistryWatch(client)
    before: dict[str, Any] | None = None
    unreachable = False
    while True:
        try:
            with explaining_errors("watch the services", client, NOT_FOUND):
                service_list = registry_watch.next_list()
                services = {
                    service["name"]: service
                    for service in services_table.require_registry_list(service_list.services, service_list.url)
                }
        except RegistryUnreachable as error:
            if before is None:
                raise
            if not unreachable:
                echo(f"svc: {error.message}; trying again", err=True)
            unreachable = True
        else:
            if unreachable:
                echo("svc: the registry is back", err=True)
            unreachable = False
            _print_changes(before, services, as_json)
            before = services
        time.sleep(registry_watch.pause)


@command.command()
@registry_options
def expire(access: Access) -> None:
    """End the leases that a degraded registry keeps, for services that are really gone.

    When many leases would end at once, the likelier cause is the registry's own network: it keeps
    them and reports itself degraded, until heartbeats arrive again or this command is run.
    """
    client = access.client()
    with explaining_errors("end the leases", client, f"{NOT_FOUND}, or one that is older than this"):
        names = client.end_kept_leases()
    echo(f"{len(names)} leases ended{': ' if names else ''}{', '.join(names)}")


def _print_changes(before: dict[str, Any] | None, services: dict[str, Any], as_json: bool) -> None:
    """Print the changes since `before`, or at first all services."""
    if before is None:
        changes = [(name, f"{state_of(s)}, {s['url']}") for name, s in sorted(services.items())]
    else:
        changes = list(services_table.service_changes(before, services))
    now = time.strftime("%H:%M:%S")
    for name, change in changes:
        if as_json:
            echo_json({"time": time.time(), "name": name, "change": change, "service": services.get(name)})
        else:
            echo(f"{now}  {name}  {change}")
