"""`svc remove`: take services out of the registry."""

import click

from svc.cli.registry_options import Access, names_argument, registry_options
from svc.rollout.drain import remove
from svc.terminal.output import echo


@click.command("remove")
@names_argument
@registry_options
def command(access: Access, names: tuple[str, ...]) -> None:
    """Remove a service that is gone for good from the registry.

    While its babysitter sends heartbeats, the command needs the registry's token, and the service registers
    again with the next heartbeat. So stop the service first, or drain it instead.
    """
    for name in remove(access.client(), names):
        echo(f"{name} is removed")
