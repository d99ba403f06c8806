"""`svc undrain`: send drained instances requests again. The code that undrains is in `svc.rollout.drain`."""

import click

from svc.cli.registry_options import Access, names_argument, registry_options
from svc.rollout.drain import undrain
from svc.terminal.output import echo


@click.command("undrain")
@names_argument
@registry_options
def command(access: Access, names: tuple[str, ...]) -> None:
    """Send requests to a drained instance again.

    It gets them as soon as it is healthy. NAME is the name of the instance or of its babysitter.
    """
    for name, was_drained in undrain(access.client(), names).items():
        echo(f"{name} is not drained any more" if was_drained else f"{name} was not drained; nothing has changed")
