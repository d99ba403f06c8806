"""Where a rollout takes place: the running site, its registry and routers, and what was left undone; all seen before
anything moves."""

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from svc.base.errors import CommandError, ConfigError
from svc.client.registry import RegistryClient
from svc.config.site import Site
from svc.protocol.instance_names import babysitter_program, instance_name, server_program
from svc.rollout.engine import Engine, Stopped
from svc.rollout.journal import Journal
from svc.rollout.observation import Scene, strangers
from svc.rollout.observer import Eyes
from svc.rollout.steps import Act, Limits, Step, Task, hopeless, last
from svc.settings import Settings
from svc.site import access, supervisord_process
from svc.site.access import RegistryUnreachable, explained
from svc.site.components import Component, read_components, shares_registry
from svc.site.startup import tail
from svc.supervision.client import SupervisordClient
from svc.terminal.console import Console
from svc.terminal.progress import waiting

WORDS = {
    Act.RESTART: "drain, restart",
    Act.REPLACE: "drain, replace",
    Act.REMOVE: "drain, remove",
    Act.ADD: "start",
    Act.START: "finish what an earlier rollout began",
}


@dataclasses.dataclass(frozen=True, slots=True)
class RolloutOptions:
    """The operator's choices; `settings` name the registry, the routers and the token."""

    settings: Settings
    limits: Limits
    dry_run: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Ground:
    site: Site
    options: RolloutOptions
    eyes: Eyes
    conf_d: Path
    components: Mapping[str, Component]  # those that run, by name
    scene: Scene
    console: Console

    @property
    def supervisord(self) -> SupervisordClient:
        return self.eyes.supervisord

    def listed(self, component: Component | None) -> bool:
        """Whether the registry that is asked knows of an instance, or will."""
        if self.eyes.client is None or component is None:
            return self.eyes.client is not None
        here = Component("", "", "", (), (), registry_url=",".join(self.eyes.client.urls))
        return component.service_name in (self.scene.services or {}) or shares_registry(here, component)

    def task(self, name: str, act: Act, after: Collection[str] = ()) -> Task:
        """Raises CommandError where it serves, and another registry is the one that sends it requests."""
        component = self.components.get(name)
        listed = self.listed(component)
        programs = (server_program(name), babysitter_program(name))
        runs = self.scene.states.get(programs[0]) == "RUNNING"
        if component and not listed and runs and act.ends and not self.options.limits.allow_downtime:
            raise CommandError(
                f"{name}: it registers at {component.registry_url}, and the registry that is asked does not know it; "
                "give that one with --registry-url, or --allow-downtime to do without"
            )
        return Task(name, act, programs, listed, frozenset(after))

    def refuse(self, tasks: Iterable[Task], journal: Journal) -> None:
        """Raises ConfigError, a line for each instance that would be missed, CommandError for a wrong router."""
        if self.options.limits.allow_downtime:
            return
        tasks = list(tasks)
        for place in strangers([t.instance for t in tasks if t.listed and t.act.ends], self.scene):
            raise CommandError(
                f"the router at {self.eyes.routers[place]} knows nothing of {', '.join(t.name for t in tasks)}; "
                "give the one that sends them requests with --router-url"
            )
        steps = {t.name: Step(t, ours=t.instance in journal.ours) for t in tasks}
        found = hopeless(steps, self.scene)
        if found:
            cure = "start another first, or give --allow-downtime"
            raise ConfigError(*(f"{name}: {last(lost)}; {cure}" for name, lost in found.items()))

    def tell(self, tasks: Iterable[Task]) -> None:
        """What would be done."""
        for task in tasks:
            self.say(f"{task.name}: {WORDS[task.act]}")

    def roll(self, tasks: Sequence[Task], components: Mapping[str, Component], journal: Journal) -> None:
        """Raises CommandError at the first that does not come back; on Ctrl-C says what is left."""
        whole, left = False, list[str]()
        try:
            with waiting(self.console) as shown:
                engine = Engine(self.eyes, components, journal, self.options.limits, shown)
                try:
                    engine.run(tasks)
                    whole = True
                except KeyboardInterrupt:
                    left = ["interrupted", *(f"  {line}" for line in engine.interrupted())]
                    raise
        except Stopped as error:
            left = [f"  {line}" for line in self._log_of(error.program)]
            raise
        finally:
            journal.end(whole)
            for line in left:
                self.say(line)

    def say(self, line: str) -> None:
        self.console.print_line(line)

    def _log_of(self, program: str) -> list[str]:
        processes = self.supervisord.processes()
        return tail(Path(processes[program].logfile)) if program in processes else []


def ground(
    site: Site, options: RolloutOptions, console: Console, supervisord: SupervisordClient, strict: bool = True
) -> Ground:
    """Raises CommandError where something does not answer that has to; `strict`: something that serves is to go."""
    conf_d = supervisord_process.conf_d(supervisord, site)
    components = {component.name: component for component in read_components(conf_d)}
    strict = strict and not options.limits.allow_downtime
    registry = access.registry_client(options.settings)
    client: RegistryClient | None = registry
    try:
        with explained("ask for the healthy instances", registry):
            registry.services()
    except RegistryUnreachable:
        if strict:
            raise
        console.print_line(f"no registry answers at {access.registry_url(options.settings)}: going on without it")
        client = None
    eyes = Eyes(supervisord, client, tuple(url.rstrip("/") for url in access.router_url(options.settings).split(",")))
    if strict:
        eyes.refuse_blind()
    else:
        eyes = dataclasses.replace(eyes, routers=eyes.answering() if client else ())
    return Ground(site, options, eyes, conf_d, components, eyes.scene(), console)


def running(site: Site) -> SupervisordClient:
    supervisord = supervisord_process.find(site)
    if supervisord is None:
        raise CommandError("no supervisord runs on this site; start it with `svc up`")
    return supervisord


def unfinished(ground: Ground, journal: Journal, names: Collection[str]) -> list[Task]:
    """What an earlier rollout has left drained or not back, and is none of `names`."""
    held = {instance_name(name) for name in journal.ours} | journal.begun
    left = sorted(held - set(names))
    # Of one that is gone since, only the mark is left to be taken away.
    return [ground.task(name, Act.START if name in ground.components else Act.REMOVE) for name in left]
