"""`svc rollout restart`: the instances of this host anew, one after the other, without a failed request."""

import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import click

from svc.base.errors import CommandError, ConfigError
from svc.cli.options import HERE, console, settings
from svc.cli.rollout_options import rollout_options
from svc.client import probe
from svc.config.instance.load import load
from svc.rollout.context import Ground, RolloutOptions, ground, running, unfinished
from svc.rollout.journal import Journal, alone
from svc.rollout.selection import meant
from svc.rollout.steps import Act, Task, ordered
from svc.site import observe

LOOK_EVERY = 0.2  # seconds


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
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    out = console()
    words = [name for name in names if name not in ("registry", "router")]
    HERE.make_dirs()
    with alone(HERE, ["rollout", "restart", *names]):
        here = ground(HERE, options, out, running(HERE), strict=bool(words))
        journal = Journal.of(HERE)
        journal.begin(" ".join(["restart", *sorted(words)]), time.time())
        components = meant(words, list(here.components.values()), here.scene.services or {}, here.scene.states)
        done = [component.name for component in components if component.name in journal.done]
        if done:
            here.say(f"going on where it ended: {', '.join(done)} done already")
        tasks = [here.task(component.name, Act.RESTART) for component in components if component.name not in done]
        tasks += unfinished(here, journal, [task.name for task in tasks])
        tasks = ordered(tasks, here.scene)
        here.refuse(tasks, journal)
        _refuse_wrong(here, tasks)
        _ours(here, names)
        if options.dry_run:
            here.tell(tasks)
            return
        for name, renew in (("registry", _registry), ("router", _router)):
            if name in names:
                renew(here)
        here.roll(tasks, here.components, journal)


def _refuse_wrong(here: Ground, tasks: Iterable[Task]) -> None:
    """A babysitter reads its TOML when it starts: raises ConfigError with what it would refuse."""
    problems: list[str] = []
    for component in (here.components[task.name] for task in tasks if task.name in here.components):
        told = settings(launch={"babysitter_host": component.host, "registry_url": component.registry_url})
        try:
            load([Path(os.path.relpath(here.conf_d / component.source))], told)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(*problems)


def _ours(here: Ground, names: tuple[str, ...]) -> None:
    for name in ("registry", "router"):
        if name in names and here.scene.states.get(name) != "RUNNING":
            raise CommandError(f"{name}: it does not run on this host; `svc up` starts what is stopped")
        if name in names and here.options.dry_run:
            here.say(f"{name}: {'replace without a pause' if name == 'router' else 'restart'}")


def _router(here: Ground) -> None:
    """gunicorn's own way: a new worker takes the socket over, the old one finishes what it has begun."""
    here.supervisord.signal("router", "HUP")
    _until(here, "router", lambda: probe.healthy(here.components["router"].health_url, observe.PATIENCE, verify=False))


def _registry(here: Ground) -> None:
    here.supervisord.restart("registry")
    _until(here, "registry", lambda: probe.healthy(here.components["registry"].health_url, observe.PATIENCE))


def _until(here: Ground, name: str, well: Callable[[], bool]) -> None:
    end = time.monotonic() + here.options.limits.timeout
    while not well():
        if time.monotonic() > end:
            raise CommandError(f"{name}: it does not answer after {here.options.limits.timeout:g} s; see `svc status`")
        time.sleep(LOOK_EVERY)
    here.say(f"{name}: renewed")
