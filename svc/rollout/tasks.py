"""The tasks of a rollout, one for each instance, and the progress of each task. Pure."""

import dataclasses
import enum
from collections.abc import Iterable

from svc.protocol.instance_names import babysitter_program, instance_service, server_program
from svc.rollout.diff import GroupChange, Update


class InstanceOperation(enum.Enum):
    """What a rollout does to an instance while the instance serves no requests."""

    RESTART = "restart"
    REPLACE = "replace"  # remove the instance's group, and add it with the configuration in the new file
    REMOVE = "remove"
    ADD = "add"
    FINISH = "finish"  # start an instance that an interrupted rollout left stopped or drained

    @property
    def stops(self) -> bool:
        """Whether the operation stops a running instance."""
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
    drain_timeout: float = 1800  # seconds from the start of a drain until requests in flight are cut
    timeout: float = 600  # seconds that an instance may take for each stage, such as becoming ready again
    allow_downtime: bool = False
    handover: float | None = None  # seconds of a drain after which streams move to other instances; None: never


@dataclasses.dataclass(frozen=True, slots=True)
class Task:
    """An operation on an instance. It begins after the tasks of the instances in `after`, which use its ports.

    An instance on demand is never started by the rollout: if it was awake, its babysitter is asked to wake it, so that
    supervisord's extension finds room for it.
    """

    name: str
    operation: InstanceOperation
    listed: bool = True  # whether the command's registry lists the instance
    after: frozenset[str] = frozenset()
    on_demand: bool = False  # whether the instance is on demand after the operation
    wakes: bool = False  # whether an instance on demand is awake before the operation, and so after it

    @property
    def sleeps(self) -> bool:
        """Whether the instance is asleep after the operation."""
        return self.on_demand and not self.wakes

    @property
    def started_programs(self) -> tuple[str, ...]:
        """The full names of the programs that must run after the operation."""
        return (babysitter_program(self.name),) if self.sleeps else self.programs

    @property
    def service_name(self) -> str:
        return instance_service(self.name)

    @property
    def programs(self) -> tuple[str, ...]:
        """The full names of the instance's programs."""
        return server_program(self.name), babysitter_program(self.name)


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """The progress of a task.

    `owns_drain` means that a rollout, not the operator, has set the drain mark.
    """

    task: Task
    stage: RolloutStage = RolloutStage.WAITING
    since: float = 0.0  # when `stage` began, in seconds of the clock of the observations
    owns_drain: bool = False
    handover_since: float | None = None  # when the order to move streams was sent, by that clock; None: never


def instance_operations(changes: Iterable[GroupChange]) -> dict[str, InstanceOperation]:
    """Return a dict from each instance that is added, removed or restarted to the operation on it."""
    return {
        change.name: OPERATIONS[change.update]
        for change in changes
        if change.component_kind == "babysitter" and change.update in OPERATIONS
    }
