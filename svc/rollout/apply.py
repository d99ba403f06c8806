"""`svc apply`: writes the files, then updates the running components that differ from them, one after the other."""

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence

from svc.base.errors import CommandError, ConfigError
from svc.config.site import Site
from svc.rollout import port_order
from svc.rollout.context import RolloutContext, RolloutOptions, open_context, running_supervisord
from svc.rollout.diff import GroupChange, Update
from svc.rollout.journal import Journal
from svc.rollout.plan_report import file_rows
from svc.rollout.proposal import Proposal, propose
from svc.rollout.renew import renew
from svc.rollout.steps import ordered
from svc.rollout.tasks import OPERATION_TEXTS, InstanceOperation, Task, instance_operations
from svc.settings import Settings
from svc.site import rollout_lock, supervisord_end
from svc.site.audit import recorded_rollout
from svc.site.components import Component
from svc.site.ports import refuse_taken
from svc.site.secret_files import secret_file_problems
from svc.supervision.client import SupervisordClient
from svc.terminal.console import Console
from svc.terminal.progress import waiting

UPDATES_THAT_LISTEN = (Update.ADD, Update.REPLACE, Update.REPLACE_PROGRAM)


def apply(
    site: Site,
    settings: Settings,
    environ: Mapping[str, str],
    tomls: Sequence[str],
    options: RolloutOptions,
    console: Console,
) -> None:
    """Write the files and update the running components to match.

    `settings` must not depend on the environment; `environ` is passed to `propose`. If the update is refused, raise
    ConfigError or CommandError before anything changes. Raise CommandError at the first component that does not become
    ready again.
    """
    site.make_dirs(logs=False)
    with rollout_lock.exclusive(site, ["apply", *tomls]), supervisord_end.explained(site):
        supervisord = running_supervisord(site)
        proposal, journal = propose(site, settings, environ, tomls), Journal.load(site)
        if not proposal and not (journal.drained or journal.begun):
            console.print_line("nothing to do: what runs is what the files say")
            return
        _Apply(site, options, console, supervisord, proposal, journal).run()


@dataclasses.dataclass(frozen=True, slots=True)
class _Apply:
    site: Site
    options: RolloutOptions
    console: Console
    supervisord: SupervisordClient
    proposal: Proposal
    journal: Journal

    def run(self) -> None:
        operations = instance_operations(self.proposal.changes)
        others = [change for change in self.proposal.changes if change.name not in operations]
        port_waits = self._port_waits(operations)
        stops = any(operation is not InstanceOperation.ADD for operation in operations.values())
        moves_servers = any(
            change.component_kind in ("registry", "router") and change.update in UPDATES_THAT_LISTEN
            for change in others
        )
        context = self._context(stops, required=not moves_servers)
        if context:
            context.require_availability(self._tasks(context, operations, port_waits), self.journal)
        self._require_secrets()
        if self.options.dry_run:
            self._print(operations)
            return
        with recorded_rollout(self.options.settings, f"svc apply ({', '.join(self._change_texts(operations))})"):
            self.proposal.files.write()
            self.supervisord.changes()  # makes supervisord read the files
            removed = [change for change in others if change.component_kind and change.update is Update.REMOVE]
            self._renew([change for change in others if change not in removed])
            if context is None or moves_servers:
                context = open_context(self.site, self.options, self.console, self.supervisord, stops)
            # `require_availability` is not called again: the engine waits for instances that are briefly unhealthy.
            tasks = self._tasks(context, operations, port_waits)
            context.require_listing_routers(tasks)
            limits = self.options.limits
            self.journal.begin("apply", time.time(), limits.allow_downtime, limits.handover)
            context.run(tasks, self._components(), self.journal)
            for change in removed:
                self.supervisord.remove(change.name)
                self.console.print_line(f"{change.name}: removed")

    def _require_secrets(self) -> None:
        """Raise ConfigError with every problem of a file of keys that a component reads when it starts."""
        new = {change.name for change in self.proposal.changes if change.update in UPDATES_THAT_LISTEN}
        components = [component for component in self.proposal.components if component.name in new]
        source = self.proposal.source
        if problems := secret_file_problems(components, source.conf_d, source.settings):
            raise ConfigError(*problems)

    def _context(self, stops: bool, required: bool) -> RolloutContext | None:
        """Return the context. Without `required`, return None where `open_context` would raise CommandError.

        The context is not required if this update starts the registry or the router, or changes its address. `stops`
        means that the update stops an instance.
        """
        try:
            return open_context(self.site, self.options, self.console, self.supervisord, stops)
        except CommandError:
            if required:
                raise
            return None

    def _components(self) -> dict[str, Component]:
        return {component.name: component for component in self.proposal.components}

    def _tasks(
        self, context: RolloutContext, operations: Mapping[str, InstanceOperation], port_waits: Mapping[str, set[str]]
    ) -> list[Task]:
        """Return the ordered tasks for the instances, including those that an earlier rollout left unfinished."""
        context = dataclasses.replace(context, components={**context.components, **self._components()})
        tasks = [context.task(name, operation, port_waits.get(name, ())) for name, operation in operations.items()]
        tasks += context.unfinished_tasks(self.journal, list(operations))
        return ordered(tasks, context.observation)

    def _port_waits(self, operations: Mapping[str, InstanceOperation]) -> dict[str, set[str]]:
        """Return, for each instance in `operations`, the instances that must stop first because they use its ports.

        Raise ConfigError for a taken port. Router and registry cannot take over an instance's port, because they are
        updated before the instances, and supervisord exits if it cannot bind the router's address.
        """
        new = {change.name for change in self.proposal.changes if change.update in UPDATES_THAT_LISTEN}
        components = [component for component in self.proposal.components if component.name in new]
        refuse_taken(components, self.supervisord, new)
        held = port_order.held_ports(self.supervisord.configuration().groups)
        for component in components:
            if component.kind in ("registry", "router"):
                _refuse_held_port(component, held)
        leaving = [name for name, operation in operations.items() if operation is not InstanceOperation.ADD]
        wanted = {component.name: component.ports for component in components if component.name in operations}
        return port_order.port_waits(wanted, held, leaving)

    def _renew(self, changes: Sequence[GroupChange]) -> None:
        with waiting(self.console) as progress:
            renew(
                changes,
                self._components(),
                self.supervisord,
                progress,
                self.options.limits.timeout,
                self.options.explain,
            )

    def _print(self, operations: Mapping[str, InstanceOperation]) -> None:
        """Print what `svc apply` would do, without the reasons, which `svc plan` prints."""
        files = self.proposal.files
        for row in file_rows(files.added, files.changed, files.removed):
            self.console.print_line(f"{row.path}: {row.change}")
        for text in self._change_texts(operations):
            self.console.print_line(text)

    def _change_texts(self, operations: Mapping[str, InstanceOperation]) -> Iterator[str]:
        for change in self.proposal.changes:
            text = OPERATION_TEXTS[operations[change.name]] if change.name in operations else change.update.value
            yield f"{change.name}: {text}"


def _refuse_held_port(component: Component, held: Mapping[str, set[int]]) -> None:
    for name, ports in held.items():
        if name != component.name and set(component.ports) & ports:
            raise ConfigError(
                f"{component.name}: port {component.ports[0]} is {name}'s still; move that first, apply, and then this"
            )
