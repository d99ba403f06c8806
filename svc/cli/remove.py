"""`svc remove`: take services out of the registry."""

import click

from svc.cli.registry_options import Access, names_argument, registry_options
from svc.rollout.drain import remove
from svc.terminal.output import echo


@click.command("remove")
@names_argument
@registry_options
def command(access: Access, names: tuple[str, ...]) -> None:
    """Take a service out of the registry, for one that is gone for good.

    While its babysitter is heard of, that takes the registry's token, and it registers again within a
    heartbeat: stop it first, or drain it.
    """
    for name in remove(access.client(), names):
        echo(f"{name} is removed")
