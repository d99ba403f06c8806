"""`svc rollout restart`: restarts instances of this host one after the other, or its registry and its router."""

import dataclasses
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from svc.base.errors import CommandError, ConfigError
from svc.base.setting import UrlList
from svc.config.instance.load import load
from svc.config.site import Site
from svc.rollout.context import RolloutContext, RolloutOptions, open_context, running_supervisord
from svc.rollout.journal import Journal
from svc.rollout.renew import reload_router, restart_asleep, restart_registry
from svc.rollout.selection import select_instances
from svc.rollout.steps import ordered
from svc.rollout.tasks import InstanceOperation, Task
from svc.site import rollout_lock, supervisord_end
from svc.site.audit import recorded_rollout
from svc.site.components import Component
from svc.site.program_groups import asleep_instances
from svc.terminal.console import Console
from svc.terminal.delay_report import DelayReport

SERVERS = {"registry": "restart", "router": "replace without a pause"}  # listed in the order in which they restart


def restart(site: Site, names: Sequence[str], options: RolloutOptions, console: Console) -> None:
    """Restart the components that `names` select.

    If the restart is refused, raise ConfigError or CommandError before anything changes. Raise CommandError at the
    first component that does not become ready again.
    """
    site.make_dirs(logs=False)
    with rollout_lock.exclusive(site, ["rollout", "restart", *names]), supervisord_end.explained(site):
        instance_names = [name for name in names if name not in SERVERS]
        supervisord = running_supervisord(site)
        context = open_context(site, options, console, supervisord, stops=bool(instance_names))
        journal = Journal.load(site)
        limits, command = options.limits, " ".join(["restart", *sorted(instance_names)])
        journal.begin(command, time.time(), limits.allow_downtime, limits.handover)
        tasks, asleep = _tasks(context, instance_names, journal)
        context.require_availability(tasks, journal)
        _require_valid_configs(context, [*(task.name for task in tasks), *(component.name for component in asleep)])
        _require_running_servers(context, names)
        if options.dry_run:
            for component in asleep:
                context.print_line(f"{component.name}: restart its babysitter; it stays asleep")
            context.print_tasks(tasks)
            return
        with recorded_rollout(options.settings, f"svc rollout restart {' '.join(names)}"):
            _renew_servers(context, names)
            _restart_asleep(context, asleep)
            context.run(tasks, context.components, journal)


def _tasks(context: RolloutContext, names: Sequence[str], journal: Journal) -> tuple[list[Task], list[Component]]:
    """Return the tasks, and the instances that are asleep, which need none."""
    components = list(context.components.values())
    observation = context.observation
    selected = select_instances(names, components, observation.services or {}, observation.program_states)
    done = [component.name for component in selected if component.name in journal.done]
    if done:
        context.print_line(f"going on where it ended: {', '.join(done)} done already")
    selected = [component for component in selected if component.name not in done]
    sleeping = asleep_instances(selected, context.supervisord)
    tasks = [context.task(c.name, InstanceOperation.RESTART) for c in selected if c.name not in sleeping]
    tasks += context.unfinished_tasks(journal, [task.name for task in tasks])
    return ordered(tasks, observation), [component for component in selected if component.name in sleeping]


def _require_valid_configs(context: RolloutContext, names: Iterable[str]) -> None:
    """Raise ConfigError if the TOML file of an instance is invalid, because its babysitter would not start again."""
    problems: list[str] = []
    for component in (context.components[name] for name in names if name in context.components):
        settings = context.options.settings
        # router_url is left out, because this command may have several URLs, and a babysitter accepts only one.
        launch = dataclasses.replace(
            settings.launch,
            babysitter_host=component.host,
            registry_url=UrlList(component.registry_url),
            router_url="",
            babysitter_registry_url=UrlList(""),
            babysitter_router_url="",
        )
        try:
            load(
                [Path(os.path.relpath(context.conf_d / component.source))],
                dataclasses.replace(settings, launch=launch),
            )
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(*problems)


def _require_running_servers(context: RolloutContext, names: Sequence[str]) -> None:
    """Raise CommandError for a registry or router in `names` that does not run here.

    In a dry run, print what would happen to each of those that run.
    """
    for name, text in SERVERS.items():
        if name in names and context.observation.program_states.get(name) != "RUNNING":
            raise CommandError(f"{name}: it does not run on this host; `svc up` starts what is stopped")
        if name in names and context.options.dry_run:
            context.print_line(f"{name}: {text}")


def _restart_asleep(context: RolloutContext, asleep: Iterable[Component]) -> None:
    for component in asleep:
        delay = DelayReport(context.options.explain, context.print_line)
        restart_asleep(component, context.supervisord, context.options.limits.timeout, delay)
        context.print_line(f"{component.name}: asleep, with a new babysitter")


def _renew_servers(context: RolloutContext, names: Sequence[str]) -> None:
    for name, renew in (("registry", restart_registry), ("router", reload_router)):
        if name in names:
            delay = DelayReport(context.options.explain, context.print_line)
            renew(context.components[name], context.supervisord, context.options.limits.timeout, delay)
            context.print_line(f"{name}: renewed")
