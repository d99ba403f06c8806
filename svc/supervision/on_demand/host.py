"""A host at one moment: its GPUs, and the instances with resources or on demand. Pure."""

import dataclasses
from collections.abc import Mapping
from typing import Literal

from svc.protocol.instance_names import SERVER_SUFFIX
from svc.supervision.on_demand.instance_facts import Demand, InstanceFacts
from svc.supervision.on_demand.program import Program

DEFAULT_LOAD_SECONDS = 60.0  # assumed for an instance that has never been loaded
MAX_LOAD_SECONDS = 1800.0  # an instance that loads for longer counts as stuck: others load, and it gives way to them
NO_DEMAND = Demand()

# stopped: no process. loading: a process that is not ready yet, or an engine that wakes. asleep: the engine sleeps, its
# process runs. restarting: the process has ended and starts again after a delay. stopping: the process is ending.
Phase = Literal["stopped", "loading", "awake", "asleep", "restarting", "stopping"]


@dataclasses.dataclass(frozen=True, slots=True)
class Instance:
    """An instance at one moment. `facts` is None if its babysitter has not reported in the last seconds.

    `gpus` are those that it uses; while it is stopped, those that its configuration names. `phase_seconds` is the time
    since its load began, or since it became awake or asleep. `wanted_seconds` is the time for which it has been wanted
    without being awake. `pause_seconds` remain until it may be started again after the `failure` of its last start.
    `releasing_for` is the name of the instance to which it is giving way.
    """

    program: Program
    phase: Phase = "stopped"
    facts: InstanceFacts | None = None
    gpus: tuple[int, ...] = ()
    wanted_seconds: float = 0.0
    phase_seconds: float = 0.0
    load_seconds: float = DEFAULT_LOAD_SECONDS
    pause_seconds: float = 0.0
    failure: str = ""
    releasing_for: str = ""
    use_share: float = 0.0  # its share of the last uses of instances on the host
    measuring_seconds: float = 0.0  # time for which its babysitter has not sent a reading that it was asked for

    @property
    def name(self) -> str:
        """The name of the instance's program, such as `qwen:server`."""
        return self.program.name

    @property
    def short_name(self) -> str:
        """The name of the instance, such as `qwen`."""
        return self.name.removesuffix(SERVER_SUFFIX)

    @property
    def holds_memory(self) -> bool:
        """Whether the instance has memory on its GPUs, or is about to take it."""
        return self.phase not in ("stopped", "asleep")

    @property
    def is_stuck(self) -> bool:
        """Whether the instance has been loading for so long that it is not expected to become ready."""
        return self.phase == "loading" and self.phase_seconds > MAX_LOAD_SECONDS

    @property
    def demand(self) -> Demand:
        """What routers and operators want of the instance."""
        return self.facts.demand if self.facts and self.facts.demand else NO_DEMAND

    @property
    def is_wanted(self) -> bool:
        """Whether requests wait for the instance, or it is to be awake for a rule or an operator."""
        return self.demand.waiting > 0 or self.demand.hold > 0

    @property
    def waited_seconds(self) -> float:
        """How long the instance has been wanted, or its oldest request has waited, whichever is longer."""
        return max(self.demand.oldest, self.wanted_seconds)

    @property
    def queue(self) -> int:
        """The number of the instance's requests: in flight, and waiting at routers."""
        return ((self.facts.in_flight or 0) if self.facts else 0) + self.demand.waiting

    @property
    def idle_seconds(self) -> float:
        """How long the instance has been idle; 0 if it has requests, or if its babysitter does not report."""
        return self.facts.idle_seconds if self.facts and not self.queue else 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class GpuMemory:
    """The memory of a GPU in bytes. `total` is None if it is unknown; such a GPU holds one instance at a time.

    `foreign` is the memory that was in use at the last measurement beyond what instances hold: that of other processes.
    """

    total: int | None = None
    foreign: int = 0
    measured_seconds: float = 0.0  # time since the measurement


@dataclasses.dataclass(frozen=True, slots=True)
class Host:
    """A host at one moment.

    If `measured` is true, `gpus` are all GPUs of the host; otherwise those that the programs' configurations name.
    """

    name: str
    instances: Mapping[str, Instance]
    gpus: Mapping[int, GpuMemory]
    measured: bool = False
    parallel_loads: int = 1
    stay_factor: float = 1.0
