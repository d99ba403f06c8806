"""`svc status`: show every program of the site and its health."""

import dataclasses
import signal
import sys

import click

from svc.cli.options import HERE, console
from svc.cli.registry_options import Access, registry_options
from svc.site import observe, status_watch
from svc.site.access import checked_urls
from svc.site.status import SiteStatus, site_status
from svc.site.status_table import status_lines
from svc.site.supervisord_process import SupervisordUnusable
from svc.terminal.output import echo_json
from svc.terminal.screen import width_of


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="for programs: see below")
@click.option(
    "--watch", is_flag=True, help="go on: in place on a terminal, else one table (or line of JSON) per change"
)
@registry_options
def command(access: Access, as_json: bool, watch: bool) -> None:
    """Show every program of the site and its health.

    A row has the state, pid, time up, restarts (of how many allowed), health, models and address. The
    health of a program comes from the registry; an instance must also be used by the router. Exits with
    0 when everything is healthy, else with 1. An instance on another machine counts too, if this site's
    router should use it and does not. --watch goes on until Ctrl-C.

    \b
    --json prints one object:
      ok           true when everything is healthy
      supervisord  its pid, null when it does not run
      unit         the systemd unit that runs the site, null without one
      programs     a list of objects:
        name          as supervisorctl writes it: registry, router, NAME:server, NAME:babysitter
        state         supervisord's: RUNNING BACKOFF FATAL ...; "-" when it does not have it
        pid, uptime   null when it does not run; uptime in seconds
        restarts      how often supervisord started it again; max_restarts: how often it may
        health        healthy, or why it is not: starting, failed, unhealthy, expired, unrouted,
                      drained ... (docs/STATUS.md has them all); empty when unknown
        models        the models that a server serves
        address       host:port
        ok            true when this program is healthy
        reason        why it was last restarted, empty when it was not
      problems     a list of texts, empty when everything is healthy
      warnings     a list of texts: what works, but not as the site's settings say
    """
    token_file, out = access.read_token_file(), console()
    registry_url = checked_urls(access.settings().launch.registry_url, "registry", 18000)
    if watch:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # like Ctrl-C, SIGTERM restores the terminal
        status_watch.watch(HERE, token_file, registry_url, out, as_json)
    try:
        status = site_status(observe.snapshot(HERE, token_file, registry_url))
    except SupervisordUnusable as error:
        if not as_json:
            raise
        status = SiteStatus(False, error.pid, [], [error.message])
    if as_json:
        echo_json(dataclasses.asdict(status), indent=2)
    else:
        for line in status_lines(status, width_of(out)):
            out.print_line(line)
    sys.exit(0 if status.ok else 1)
