"""The actions of a rollout on an instance, in supervisord and in the registry."""

import dataclasses
from collections.abc import Callable

from svc.base.errors import CommandError, NotFound
from svc.client import wake
from svc.client.registry import RegistryClient
from svc.protocol.instance_names import babysitter_program
from svc.rollout.tasks import InstanceOperation, Task
from svc.site.access import RegistryUnreachable, explaining_errors
from svc.site.components import Component
from svc.supervision.client import SupervisordClient

WAKE_HOLD_SECONDS = 10.0


@dataclasses.dataclass(frozen=True, slots=True)
class InstanceActions:
    """Stops, changes, drains and deregisters instances.

    `registry` is None if the operator allows a rollout without a registry: no instance is then drained.
    """

    supervisord: SupervisordClient
    registry: RegistryClient | None
    api_key: Callable[[Component], str] = lambda component: ""  # the key that an instance requires of its callers

    def stop(self, task: Task) -> None:
        """Stop an instance's programs without waiting for their end."""
        if task.name in self.supervisord.groups():
            self.supervisord.stop(f"{task.name}:*", wait=False)

    def change(self, task: Task) -> None:
        """Carry out a task's operation on a stopped instance, without waiting until the instance answers.

        Raise CommandError if supervisord refuses.
        """
        exists = task.name in self.supervisord.groups()
        if task.operation in (InstanceOperation.REPLACE, InstanceOperation.REMOVE) and exists:
            self.supervisord.remove(task.name)
        if task.operation is InstanceOperation.REMOVE:
            return
        if task.operation in (InstanceOperation.REPLACE, InstanceOperation.ADD) or not exists:
            self.supervisord.changes()  # makes supervisord read the files
            if task.name not in self.supervisord.groups():
                self.supervisord.add(task.name)
        self.supervisord.start(babysitter_program(task.name) if task.on_demand else f"{task.name}:*", wait=False)

    def wake(self, component: Component) -> None:
        """Ask the babysitter of an instance to wake it, and to keep it awake for WAKE_HOLD_SECONDS."""
        demand = {"hold": WAKE_HOLD_SECONDS, "by": "a rollout"}
        wake.demand(component.babysitter_url, self.api_key(component), True, None, demand)

    def set_drained(self, task: Task, drained: bool, handover: bool = False) -> bool:
        """Set an instance's drain mark if `drained` is true, else clear it; return False if no registry answers.

        With `handover`, routers also move the instance's streams to other instances. An instance that the registry does
        not list needs no drain mark.
        """
        if self.registry is None:
            return True
        try:
            with explaining_errors(f"{'drain' if drained else 'undrain'} {task.name}", self.registry):
                self.registry.drain(task.service_name, drained, handover)
        except RegistryUnreachable:
            return False
        except NotFound:
            pass
        return True

    def deregister(self, task: Task) -> bool:
        """Remove an instance and its babysitter from the registry; return False if the registry fails or refuses."""
        if self.registry is None:
            return True
        try:
            with explaining_errors(f"remove {task.name}", self.registry):
                for name in (task.service_name, task.name):
                    try:
                        self.registry.deregister(name)
                    except NotFound:
                        continue  # the babysitter has already deregistered this name
        except CommandError:
            return False
        return True
