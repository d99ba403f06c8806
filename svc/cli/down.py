"""`svc down`: stop the site, or some of it."""

import click

from svc.cli.options import HERE, console
from svc.settings import COMPONENTS
from svc.site import shutdown
from svc.terminal.progress import waiting


@click.command("down")
@click.option("--only", type=click.Choice(COMPONENTS), help="stop only this kind; the rest runs on")
@click.option("--port", type=int, help="with --only babysitter: the instance with this port, or its babysitter's")
def command(only: str | None, port: int | None) -> None:
    """Stop the site, or one kind of its components.

    The router is stopped first and finishes its requests, then the babysitters, the rest and supervisord.
    """
    if port is not None and only != "babysitter":
        raise click.UsageError("--port goes with --only babysitter")
    out = console()
    try:
        with waiting(out) as progress:
            if only:
                shutdown.down_only(HERE, only, port, progress)
            else:
                shutdown.down(HERE, progress)
    except KeyboardInterrupt:
        out.print_line(f"interrupted: {shutdown.remaining(HERE)}")
        raise
