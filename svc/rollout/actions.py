"""What a rollout does to an instance: in supervisord, and in the registry."""

import dataclasses

from svc.base.errors import CommandError, NotFound
from svc.client.registry import RegistryClient
from svc.rollout.tasks import InstanceOperation, Task
from svc.site.access import RegistryUnreachable, explaining_errors
from svc.supervision.client import SupervisordClient


@dataclasses.dataclass(frozen=True, slots=True)
class InstanceActions:
    """`registry` is None when the operator lets a rollout do without it: then there are no drain marks."""

    supervisord: SupervisordClient
    registry: RegistryClient | None

    def stop(self, task: Task) -> None:
        """Send the stop to an instance's programs; do not wait until they have ended."""
        if task.name in self.supervisord.groups():
            self.supervisord.stop(f"{task.name}:*", wait=False)

    def change(self, task: Task) -> None:
        """Carry out a task's operation on a stopped instance; do not wait until it answers. Raise CommandError."""
        exists = task.name in self.supervisord.groups()
        if task.operation in (InstanceOperation.REPLACE, InstanceOperation.REMOVE) and exists:
            self.supervisord.remove(task.name)
        if task.operation is InstanceOperation.REMOVE:
            return
        if task.operation in (InstanceOperation.REPLACE, InstanceOperation.ADD) or not exists:
            self.supervisord.changes()  # makes supervisord read the files
            if task.name not in self.supervisord.groups():
                self.supervisord.add(task.name)
        self.supervisord.start(f"{task.name}:*", wait=False)

    def set_drained(self, task: Task, drained: bool) -> bool:
        """Set an instance's drain mark; return False when no registry answers. An unknown instance needs no mark."""
        if self.registry is None:
            return True
        try:
            with explaining_errors(f"{'drain' if drained else 'undrain'} {task.name}", self.registry):
                self.registry.drain(task.service_name, drained)
        except RegistryUnreachable:
            return False
        except NotFound:
            pass
        return True

    def deregister(self, task: Task) -> bool:
        """Take an instance and its babysitter out of the registry, if one is used; return whether both are gone."""
        if self.registry is None:
            return True
        try:
            with explaining_errors(f"remove {task.name}", self.registry):
                for name in (task.service_name, task.name):
                    try:
                        self.registry.deregister(name)
                    except NotFound:
                        continue  # its babysitter has taken it out
        except CommandError:
            return False
        return True
