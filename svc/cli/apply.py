"""`svc apply`: update what runs to match the files, one component after the other, without a failed request."""

import os
import signal

import click

from svc.cli.options import HERE, console, settings, tomls_argument
from svc.cli.rollout_options import rollout_options
from svc.rollout.apply import apply
from svc.rollout.context import RolloutOptions


@click.command()
@tomls_argument
@rollout_options
def command(options: RolloutOptions, tomls: tuple[str, ...]) -> None:
    """Update what runs to match the files, without failing a request. `svc plan` shows the changes.

    The command renders the files as `svc render [TOML...]` does. Before anything changes, it checks
    that the files are valid, that the ports are free, and that no model loses its last healthy
    instance on all hosts (unless --allow-downtime). Then it writes conf.d (var/conf.d on a site of
    `svc up --foreground`, as in a container) and changes only what differs, one component after the
    other:

    \b
    - new instances are started and waited for;
    - changed instances are drained in the registry, restarted with their new configuration when no
      router has a request in flight for them, and waited for until the router uses them;
    - removed instances are drained in the same way, then stopped;
    - if only the babysitter reads what differs, a new babysitter takes over and the server runs on;
    - the router keeps its socket: connections wait while it restarts.

    With --handover 30s, streams that still run after 30 seconds of a drain move to other instances, which
    continue their answers; other requests are waited for.

    An instance that the operator has drained stays drained. At the first instance that does not come
    back, the command stops with exit code 1: that instance stays drained, the waiting instances are
    unchanged, and `svc plan` shows the remaining changes. To finish a command that was interrupted or
    killed, run it again. If there is nothing to do, the command prints that and exits with 0.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # SIGTERM acts like Ctrl-C
    apply(HERE, settings(environ=False, check_rules=True), os.environ, tomls, options, console())
