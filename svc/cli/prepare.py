"""`svc prepare`: make a site ready for the supervisord that its systemd unit starts."""

import click

from svc.cli.options import HERE
from svc.site import systemd_search


@click.command("prepare", hidden=True)
def command() -> None:
    """Make the site ready for the supervisord that its systemd unit starts.

    The unit that svc render --systemd writes runs this command. It makes logs/ and var/, and exits with 1 if a
    supervisord runs here that systemd did not start.
    """
    systemd_search.prepare(HERE)
