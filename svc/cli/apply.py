"""`svc apply`: bring what runs in line with the files, one component after the other, without a failed request."""

import signal

import click

from svc.cli.options import HERE, console, settings
from svc.cli.rollout_options import rollout_options
from svc.rollout.apply import apply
from svc.rollout.context import RolloutOptions


@click.command()
@click.argument("tomls", nargs=-1, metavar="[TOML...]")
@rollout_options
def command(options: RolloutOptions, tomls: tuple[str, ...]) -> None:
    """Bring what runs in line with the files, without failing a request: what `svc plan` shows.

    Renders as `svc render [TOML...]` does and checks everything before anything moves: the files, the
    ports, that no model loses its last healthy instance on all hosts (unless --allow-downtime). Then
    it writes conf.d and changes only what differs, one after the other:

    \b
    - new instances are started and waited for;
    - changed instances are drained in the registry, restarted with their new configuration when no
      router has a request in flight for them, and waited for until the router uses them;
    - removed instances are drained in the same way, then stopped;
    - where only the babysitter reads what differs, another takes over and the server runs on;
    - the router keeps its socket: connections wait while it restarts.

    An instance that the operator has drained stays drained. At the first instance that does not come
    back, the command stops with exit code 1: that one stays drained, the others are not touched, and
    `svc plan` shows what is left. However the command ended, by Ctrl-C or killed, running it again
    finishes it. With nothing to do it prints that and exits with 0.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # SIGTERM ends it as Ctrl-C does
    apply(HERE, settings(environ=False), tomls, options, console())
