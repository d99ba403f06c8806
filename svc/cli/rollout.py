"""`svc rollout restart`: restart the instances of this host one after the other, without a failed request."""

import signal

import click

from svc.cli.group import CommandGroup
from svc.cli.name_completers import instances
from svc.cli.options import HERE, console
from svc.cli.rollout_options import rollout_options
from svc.rollout import restart as rolling_restart
from svc.rollout.context import RolloutOptions


@click.group("rollout", cls=CommandGroup)
def command() -> None:
    """Restart instances one by one, without failing a request."""


@command.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME|MODEL|all...", shell_complete=instances)
@rollout_options
def restart(options: RolloutOptions, names: tuple[str, ...]) -> None:
    """Restart instances one after the other, without failing a request.

    NAME selects an instance, MODEL selects all instances of this host that list the model, and `all`
    selects all instances of this host. An instance that was stopped by hand is restarted only if it is
    named. Each instance is drained in the registry. When no router has a request in flight for it,
    supervisord restarts it and its babysitter. When it lists its models again, it is undrained. When
    the router uses it, the next instance follows. An instance that the operator has drained stays
    drained.

    \b
    - The last healthy instance of a model on all hosts is not restarted without --allow-downtime.
    - After --drain-timeout, requests in flight are cut. The default is as long as the router lets
      a request take.
    - With --handover 30s, streams that still run after 30 seconds of a drain move to other instances,
      which continue their answers; other requests are waited for.
    - At the first instance that does not come back, the command stops with exit code 1: that instance
      stays drained, the waiting instances are unchanged. Repeated within an hour, the command goes on
      from there.
    - On Ctrl-C, instances that were only drained serve again, and the command lists the others. A
      killed command is finished by running it again.

    `registry` and `router` are names as well: the router is replaced without a pause (SIGHUP), and
    routers keep their table while the registry restarts.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # SIGTERM acts like Ctrl-C
    rolling_restart.restart(HERE, names, options, console())
