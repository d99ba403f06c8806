"""`svc down`: stop the site, or some of it."""

import click

from svc.cli import wrong_verbs
from svc.cli.options import HERE, console, supervisorctl
from svc.settings import COMPONENTS
from svc.site import shutdown
from svc.terminal.progress import waiting


@click.command("down", context_settings={"allow_extra_args": True})
@click.option("--only", type=click.Choice(COMPONENTS), help="stop only this kind; the rest runs on")
@click.option("--port", type=int, help="with --only babysitter: the instance with this port, or its babysitter's")
@click.pass_context
def command(context: click.Context, only: str | None, port: int | None) -> None:
    """Stop the site, or one kind of its components.

    The router is stopped first and finishes its requests, then the babysitters, the rest and supervisord.
    """
    if context.args:
        raise click.UsageError(wrong_verbs.answer_to_down(context.args, supervisorctl()))
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
