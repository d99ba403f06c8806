"""The context of a rollout: the site, the registry, the routers, and their state before the rollout begins."""

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from svc.base.errors import CommandError, ConfigError, SvcError
from svc.base.secret_file import read
from svc.base.signals import KeptInterrupt, deferred_interrupts
from svc.client.registry import RegistryClient
from svc.config.instance.load import load_one
from svc.config.site import Site
from svc.protocol.engine_key import parse_key
from svc.protocol.instance_names import instance_name, instance_service, server_program
from svc.protocol.service import ASLEEP
from svc.rollout.actions import InstanceActions
from svc.rollout.availability import last_instance_text, refused_losses
from svc.rollout.journal import Journal
from svc.rollout.observation import RolloutObservation, routers_without
from svc.rollout.observer import Observer
from svc.rollout.rollout_engine import RolloutEngine, RolloutStopped
from svc.rollout.tasks import OPERATION_TEXTS, InstanceOperation, RolloutLimits, Step, Task
from svc.settings import Settings
from svc.site import access, supervisord_process
from svc.site.access import RegistryUnreachable, explaining_errors
from svc.site.components import Component, read_components, shares_registry
from svc.site.log_file import last_output
from svc.supervision.client import SupervisordClient
from svc.terminal.console import Console
from svc.terminal.delay_report import DelayReport, Explain
from svc.terminal.progress import waiting


@dataclasses.dataclass(frozen=True, slots=True)
class RolloutOptions:
    """The operator's options for a rollout. `settings` contain the token file and the URLs of registry and routers."""

    settings: Settings
    limits: RolloutLimits
    dry_run: bool = False
    explain: Explain | None = None  # returns the reasons why instances are not ready


@dataclasses.dataclass(frozen=True, slots=True)
class RolloutContext:
    site: Site
    options: RolloutOptions
    observer: Observer
    conf_d: Path
    components: Mapping[str, Component]  # name -> running component
    observation: RolloutObservation
    console: Console

    @property
    def supervisord(self) -> SupervisordClient:
        return self.observer.supervisord

    def is_listed(self, component: Component | None) -> bool:
        """Return whether this command's registry lists an instance, or will list it once it is started."""
        registry = self.observer.registry
        if registry is None or component is None:
            return registry is not None
        if self.observation.service(component.service_name) is not None:
            return True
        return shares_registry(Component("", "", "", (), (), registry_url=",".join(registry.urls)), component)

    def task(self, name: str, operation: InstanceOperation, after: Collection[str] = ()) -> Task:
        """Return the task for an instance.

        Raise CommandError if the instance runs and registers at another registry than this command's. Routers of that
        registry would send it requests in spite of a drain in this command's registry.
        """
        component = self.components.get(name)
        service = self.observation.service(instance_service(name)) or {}
        runs = self.observation.program_states.get(server_program(name)) == "RUNNING"
        on_demand = component is not None and component.on_demand
        wakes = on_demand and runs and operation.stops and service.get("status") != ASLEEP
        task = Task(name, operation, self.is_listed(component), frozenset(after), on_demand, wakes)
        if component and not task.listed and runs and operation.stops and not self.options.limits.allow_downtime:
            raise CommandError(
                f"{name}: it registers at {component.registry_url}, which is not the registry of this command; "
                "give that one with --registry-url, or --allow-downtime to do without"
            )
        return task

    def unfinished_tasks(self, journal: Journal, names: Collection[str]) -> list[Task]:
        """Return tasks for the instances that an earlier rollout left drained or stopped, except those in `names`."""
        # An instance that no longer exists gets a task to remove it, because it may still have a drain mark.
        return [
            self.task(name, InstanceOperation.FINISH if name in self.components else InstanceOperation.REMOVE)
            for name in journal.unfinished(names)
        ]

    def require_availability(self, tasks: Iterable[Task], journal: Journal) -> None:
        """Raise ConfigError with a line for each instance whose stop would leave a model without healthy instances.

        Also call `require_listing_routers`, which raises CommandError.
        """
        if self.options.limits.allow_downtime:
            return
        tasks = list(tasks)
        self.require_listing_routers(tasks)
        steps = [Step(task, owns_drain=task.service_name in journal.drained) for task in tasks]
        models: dict[str, list[str]] = {}
        for loss in refused_losses(steps, self.observation):
            models.setdefault(loss.instance, []).append(loss.model)
        if models:
            raise ConfigError(
                *(f"{name}: {last_instance_text(lost)}; {self._cure(name, lost)}" for name, lost in models.items())
            )

    def _cure(self, name: str, models: Collection[str]) -> str:
        """Return what the user can do so that the instance `name` may stop without downtime of its `models`."""
        if (component := self.components.get(name)) and component.on_demand:
            first = f"put it to sleep first (`svc sleep {name} --wait`)"
            return f"{first}: requests then wait until it is awake again; or give --allow-downtime"
        services = self.observation.services or {}
        asleep = [name for name in services if services[name].get("status") == ASLEEP]
        other = next((other for other in asleep if {*models} & {*self.observation.models(other)}), "")
        first = f"wake another first (`svc wake {instance_name(other)} --wait`)" if other else "start another first"
        return f"{first}, or give --allow-downtime"

    def require_listing_routers(self, tasks: Sequence[Task]) -> None:
        """Raise CommandError for a router that lists none of the instances that have to stop.

        Such a router does not show how many requests these instances have in flight.
        """
        names = [task.service_name for task in tasks if task.listed and task.operation.stops]
        indices = [] if self.options.limits.allow_downtime else routers_without(names, self.observation)
        for index in indices:
            raise CommandError(
                f"the router at {self.observer.router_urls[index]} knows nothing of "
                f"{', '.join(task.name for task in tasks)}; give the one that sends them requests with --router-url"
            )

    def print_tasks(self, tasks: Iterable[Task]) -> None:
        for task in tasks:
            self.print_line(f"{task.name}: {OPERATION_TEXTS[task.operation]}")

    def run(self, tasks: Sequence[Task], components: Mapping[str, Component], journal: Journal) -> None:
        """Carry out the tasks. Raise CommandError at the first instance that does not become ready again.

        On Ctrl-C, print which instances are not done.
        """
        complete, lines = False, list[str]()
        actions = InstanceActions(self.supervisord, self.observer.registry, self._api_key)
        try:
            with KeptInterrupt() as interrupt, waiting(self.console) as progress:
                limits = self.options.limits
                delay = DelayReport(self.options.explain, progress.note)
                engine = RolloutEngine(
                    self.observer, actions, components, journal, limits, progress, delay, sleep=interrupt.sleep
                )
                try:
                    engine.run(tasks)
                    complete = True
                except KeyboardInterrupt:
                    with deferred_interrupts():
                        lines = ["interrupted", *(f"  {line}" for line in engine.interrupt())]
                    raise
        except RolloutStopped as error:
            lines = [f"  {line}" for line in self._end_of_log(error.program)]
            raise
        finally:
            journal.end(complete)
            for line in lines:
                self.print_line(line)

    def _api_key(self, component: Component) -> str:
        """Return the API key that an instance requires of its callers; "" if there is none that this user can read."""
        try:
            config = load_one(self.conf_d / component.source, self.options.settings)
            file = config.backend.api_key_file
            return read(self.site.root / file, parse_key, "[backend] api_key_file") if file else ""
        except SvcError:
            return ""

    def print_line(self, line: str) -> None:
        self.console.print_line(line)

    def _end_of_log(self, program: str) -> list[str]:
        processes = self.supervisord.processes()
        return last_output(self.supervisord, processes[program]) if program in processes else []


def open_context(
    site: Site, options: RolloutOptions, console: Console, supervisord: SupervisordClient, stops: bool = True
) -> RolloutContext:
    """Return the context. `stops` means that the rollout stops an instance.

    In that case, raise CommandError if the registry refuses the writes of this command. Unless downtime is allowed,
    also raise CommandError if the registry or a router does not answer.
    """
    conf_d = supervisord_process.conf_d(supervisord, site)
    components = {component.name: component for component in read_components(conf_d)}
    required = stops and not options.limits.allow_downtime
    registry: RegistryClient | None = _answering_registry(options, console, required)
    if stops and registry:
        with explaining_errors("drain instances", registry):
            registry.require_write_access()
    router_urls = tuple(url.rstrip("/") for url in access.router_url(options.settings).split(","))
    observer = Observer(supervisord, registry, router_urls)
    if required:
        observer.require_routers()
    else:
        observer = dataclasses.replace(observer, router_urls=observer.answering_routers() if registry else ())
    return RolloutContext(site, options, observer, conf_d, components, observer.observe(), console)


def _answering_registry(options: RolloutOptions, console: Console, required: bool) -> RegistryClient | None:
    registry = access.registry_client(options.settings)
    try:
        with explaining_errors("ask for the healthy instances", registry):
            registry.services()
    except RegistryUnreachable:
        if required:
            raise
        console.print_line(f"no registry answers at {access.registry_url(options.settings)}: going on without it")
        return None
    return registry


def running_supervisord(site: Site) -> SupervisordClient:
    """Return the client of the site's supervisord. Raise CommandError if no supervisord runs.

    Raise CommandError also if logs/ is not writable. A supervisord that runs from var/ is an exception, because its
    programs may log to stdout.
    """
    supervisord = supervisord_process.find(site)
    if supervisord is None:
        raise CommandError("no supervisord runs on this site; start it with `svc up`")
    runs_from_var = supervisord_process.runs_from(supervisord, site.var_supervisord_conf)
    site.make_dirs(logs=site.logs_are_writable or not runs_from_var)
    return supervisord
