"""`svc health`: print whether this machine's components can be used, for example as a container's HEALTHCHECK."""

import click

from svc.base.errors import CommandError
from svc.cli.options import HERE
from svc.site.observe import check_health
from svc.terminal.output import echo


@click.command("health")
def command() -> None:
    """Report whether everything that runs here can be used.

    Exits with 0 if it can, else with 1 and a line for each component that cannot. It checks only the
    components of this machine: the registry's /health, the router's /readyz, and each babysitter's
    /health, which reports its instance. A container's HEALTHCHECK can call it; `svc
    status` shows more.
    """
    healthy, unhealthy = check_health(HERE)
    if unhealthy:
        raise CommandError(
            "; ".join(f"{component.name}: no 200 from {component.health_url}" for component in unhealthy)
        )
    echo(f"well: {', '.join(component.name for component in healthy) or 'no component is to run here'}")
