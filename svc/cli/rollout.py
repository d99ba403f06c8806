"""`svc rollout restart`: restart the instances of this host one after the other, without a failed request."""

import signal

import click

from svc.cli.options import HERE, console
from svc.cli.rollout_options import rollout_options
from svc.rollout import restart as rolling_restart
from svc.rollout.context import RolloutOptions


@click.group("rollout")
def command() -> None:
    """Renew what runs on this host while it serves: see `svc rollout restart --help`."""


@command.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME|MODEL|all...")
@rollout_options
def restart(options: RolloutOptions, names: tuple[str, ...]) -> None:
    """Restart instances one after the other, without failing a request.

    NAME is an instance's, MODEL all of this host that have it, `all` all of this host; what was
    stopped by hand is left alone unless it is named. Each is drained in the registry; when the router
    has nothing in flight for it, supervisord restarts it and its babysitter; when it answers with its
    models it is undrained, and when the router uses it the next one goes. What an operator has drained
    stays drained.

    \b
    - The last healthy instance of a model, on all hosts, is refused unless --allow-downtime.
    - After --drain-timeout what is still in flight is cut. By default that is as long as the
      router lets a request take.
    - At the first that does not come back it stops with exit code 1; that one stays drained,
      the others are as they were. The same command goes on from there within an hour.
    - Ctrl-C: what is only drained serves again, and what is left is said. Killed half-way, it
      is finished by running it again.

    `registry` and `router` are names, too: the router is replaced without a pause (SIGHUP), the
    registry is restarted while routers go on with the table they have.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # SIGTERM ends it as Ctrl-C does
    rolling_restart.restart(HERE, names, options, console())
