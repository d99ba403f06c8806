"""`svc up`: start the site, or bring it up to date."""

import os
import signal

import click

from svc.cli.options import HERE, console, delay_reasons, settings, tomls_argument
from svc.settings import COMPONENTS
from svc.site import foreground as site_foreground
from svc.site import startup
from svc.site.new_site import require_site
from svc.site.start_plan import StartOptions


@click.command("up")
@tomls_argument
@click.option(
    "--only", multiple=True, type=click.Choice(COMPONENTS), help="start only this kind; what runs already runs on"
)
@click.option("--timeout", type=float, default=600, show_default=True, help="seconds to wait until all is ready")
@click.option("--foreground", is_flag=True, help="run until SIGTERM, with all logs on stdout (for containers)")
def command(tomls: tuple[str, ...], only: tuple[str, ...], timeout: float, foreground: bool) -> None:
    """Start the site, or bring a running one up to date.

    The command renders the files first, and waits until every component answers. If environment
    variables change the files, conf.d stays as it is, and supervisord runs from var/supervisord.conf.
    Ctrl-C stops what this call has started.

    With --foreground the command runs until SIGTERM or Ctrl-C, then stops everything in order as
    svc down does. The programs' output goes to stdout as well as to logs/, or to stdout alone if logs/
    cannot be written. An instance that fails is started again; if the registry or the router cannot
    start, the command ends with exit code 1.
    """
    if not tomls and not only:
        require_site(HERE, settings().launch)
    options = StartOptions(tomls, only, os.environ)
    if foreground:
        site_foreground.run(HERE, options, timeout, console())
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # SIGTERM acts like Ctrl-C
    startup.up(HERE, options, timeout, console(), delay_reasons)
