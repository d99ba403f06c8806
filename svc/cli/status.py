"""`svc status`: every program of the site, and how it is."""

import dataclasses
import signal
import sys

import click

from svc.cli.options import HERE, console, settings
from svc.site import observe, status_watch
from svc.site.status import site_status
from svc.site.status_table import status_lines
from svc.terminal.output import echo_json
from svc.terminal.screen import width_of


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="for programs: see below")
@click.option("--watch", is_flag=True, help="go on: in place on a terminal, else a table (or a line of JSON) a change")
def command(as_json: bool, watch: bool) -> None:
    """Show every program: state, pid, time up, restarts (of how many allowed), health, models, address.

    Health is what the registry says of it, and for an instance also whether the router uses it.
    Exits with 0 when all is well, with 1 when anything is not, which may be an instance of another
    machine that this one's router should use. --watch goes on until Ctrl-C.

    \b
    --json prints one object:
      ok           true when all is well
      supervisord  its pid, null when it does not run
      programs     a list of objects:
        name          as supervisorctl writes it: registry, router, NAME:server, NAME:babysitter
        state         supervisord's: RUNNING BACKOFF FATAL ...; "-" when it does not have it
        pid, uptime   null when it does not run; uptime in seconds
        restarts      how often it was started again by itself; max_restarts: how often it may be
        health        healthy, or what is not: starting, failed, unhealthy, expired, unrouted,
                      drained ... (docs/STATUS.md has them all); empty when nobody knows
        models        of a server: those it serves
        address       host:port
        ok            true when this program is well
        reason        why it was last restarted, empty when it was not
      problems     a list of texts, empty when all is well
    """
    registry = settings().registry
    token_file, out = registry.read_token_file or registry.token_file, console()
    if watch:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the terminal is left in order
        status_watch.watch(HERE, token_file, out, as_json)
    status = site_status(observe.snapshot(HERE, token_file))
    if as_json:
        echo_json(dataclasses.asdict(status), indent=2)
    else:
        for line in status_lines(status, width_of(out)):
            out.print_line(line)
    sys.exit(0 if status.ok else 1)
