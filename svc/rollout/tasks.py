"""The work of a rollout: what is done to each instance, and how far it is. Pure."""

import dataclasses
import enum
from collections.abc import Iterable

from svc.protocol.instance_names import babysitter_program, instance_service, server_program
from svc.rollout.diff import GroupChange, Update


class InstanceOperation(enum.Enum):
    """What is done to an instance while it serves no requests."""

    RESTART = "restart"
    REPLACE = "replace"  # remove its group and add it again, so that supervisord reads its file
    REMOVE = "remove"
    ADD = "add"
    FINISH = "finish"  # start what an interrupted rollout has left stopped or drained

    @property
    def stops(self) -> bool:
        """Whether the running instance is stopped."""
        return self in (InstanceOperation.RESTART, InstanceOperation.REPLACE, InstanceOperation.REMOVE)


OPERATION_TEXTS = {
    InstanceOperation.RESTART: "drain, restart",
    InstanceOperation.REPLACE: "drain, replace",
    InstanceOperation.REMOVE: "drain, remove",
    InstanceOperation.ADD: "start",
    InstanceOperation.FINISH: "finish what an earlier rollout began",
}
OPERATIONS = {
    Update.ADD: InstanceOperation.ADD,
    Update.REMOVE: InstanceOperation.REMOVE,
    Update.REPLACE: InstanceOperation.REPLACE,
}


class RolloutStage(enum.Enum):
    WAITING = "waiting"
    DRAINING = "draining"
    STOPPING = "stopping"
    RETURNING = "waiting until it answers"
    ROUTING = "waiting until the router has it"
    DONE = "done"
    FAILED = "failed"


@dataclasses.dataclass(frozen=True, slots=True)
class RolloutLimits:
    parallel: int = 1
    drain_timeout: float = 1800  # seconds until requests in flight are cut
    timeout: float = 600  # seconds until an instance must be back
    allow_downtime: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Task:
    """One instance and what is done to it. `after`: tasks that must be done before, because it needs their ports."""

    name: str
    operation: InstanceOperation
    listed: bool = True  # whether the registry that the command uses lists it
    after: frozenset[str] = frozenset()

    @property
    def service_name(self) -> str:
        return instance_service(self.name)

    @property
    def programs(self) -> tuple[str, ...]:
        """Its programs, as supervisorctl names them."""
        return server_program(self.name), babysitter_program(self.name)


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """How far a task is. `owns_drain`: a rollout has set the instance's drain mark, not the operator."""

    task: Task
    stage: RolloutStage = RolloutStage.WAITING
    since: float = 0.0  # when the stage began, in the seconds of the observations
    owns_drain: bool = False


def instance_operations(changes: Iterable[GroupChange]) -> dict[str, InstanceOperation]:
    """Return the operations on instances that are added, removed or restarted, by instance."""
    return {
        change.name: OPERATIONS[change.update]
        for change in changes
        if change.component_kind == "babysitter" and change.update in OPERATIONS
    }
