"""The monitor of one instance: it looks up events of the process and the engine in the lifecycle table, and acts."""

import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from svc.babysitter.engine_status import NO_ANSWER, EngineStatus, Models
from svc.babysitter.instance_watch import InstanceWatch, ProcessSnapshot, event_between
from svc.babysitter.lifecycle import SAME_STAGE_EVENTS, Action, LifecycleEvent, LifecycleState, step
from svc.babysitter.model_refresh import ModelRefresh
from svc.config.instance.model import InstanceConfig

log = logging.getLogger(__name__)
MODEL_LIST_INTERVAL_SECONDS = 5.0  # time between two reads of a running engine's model list
# The model list is read in these states. ASLEEP is one of them because another program may wake the engine.
LISTED_STATES = (LifecycleState.STARTING, LifecycleState.RUNNING, LifecycleState.HUNG, LifecycleState.ASLEEP)
# Only these fields of a model are compared, because other fields contain times and random numbers (vLLM's `created` and
# `permission`).
MODEL_FIELDS = ("id", "root", "parent", "max_model_len")


@dataclasses.dataclass(frozen=True, slots=True)
class InstanceSnapshot:
    """Everything that the monitor knows about the instance at one moment."""

    state: LifecycleState = LifecycleState.UNSEEN
    process_stage: int = 0  # number of the current stage; results from earlier stages are discarded
    process: ProcessSnapshot | None = None
    models: tuple[dict[str, Any], ...] = ()  # from the last list; kept until a restarted process lists its own

    @property
    def has_process(self) -> bool:
        """Whether the last poll found a running process."""
        return self.process is not None and self.process.event() is LifecycleEvent.SPAWNED


class Monitor:
    """Keeps `snapshot` up to date as its only writer, and carries out the actions of the lifecycle table.

    `effects` maps each action to the function that carries it out; only the one for DEREGISTER may block. `observe` is
    called with each event of the lifecycle, before its actions. `models` returns the models that an instance on demand
    probably has, as long as it has not run. With `on_demand`, an instance whose process was stopped is asleep. `clock`
    is monotonic, and `now` returns Unix seconds.
    """

    def __init__(
        self,
        config: InstanceConfig,
        watch: InstanceWatch,
        engine_status: EngineStatus,
        effects: Mapping[Action, Callable[[], object]],
        clock: Callable[[], float] = time.monotonic,
        observe: Callable[[LifecycleState, LifecycleEvent, LifecycleState], None] = lambda before, event, after: None,
        models: Models | None = None,
        on_demand: bool = False,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.config = config
        self.watch = watch
        self.engine_status = engine_status
        self.effects = effects
        self.clock = clock
        self.started = now()
        self.observe = observe
        self.on_demand = on_demand
        self.snapshot = InstanceSnapshot(models=tuple(models or ()))
        self._models_read = float("-inf")  # time of the last read of the model list
        self._reason = NO_ANSWER  # the reason at the previous check, so that only a new reason is logged
        self._lock = threading.Lock()
        self._models_lock = threading.Lock()  # one read at a time, so that an older list never replaces a newer one
        self.refresh_models = ModelRefresh(self._read_models)  # reads the list even if the last read is recent

    def poll_process(self) -> None:
        """Poll the process once, and apply an event if the process or its state has changed."""
        now = self.watch.poll()
        if now is None:
            return
        event = event_between(self.snapshot.process, now)
        if event is None:
            self.snapshot = dataclasses.replace(self.snapshot, process=now)
        else:
            self.engine_status.invalidate()
            sleeps = self.on_demand and event is LifecycleEvent.STOPPED
            self._apply(LifecycleEvent.SLEEPS if sleeps else event, process=now)

    def check_engine(self) -> None:
        """Check whether a starting engine is ready; read the model list of a running engine again at intervals."""
        state = self.snapshot.state
        interval = min(MODEL_LIST_INTERVAL_SECONDS, self.config.heartbeat_interval)
        due = self.clock() >= self._models_read + interval
        if state is LifecycleState.STARTING or (state in (LifecycleState.RUNNING, LifecycleState.ASLEEP) and due):
            self._read_models()

    def _read_models(self) -> None:
        with self._models_lock:
            before = self.snapshot
            if before.state not in LISTED_STATES or not before.has_process:
                return  # without a running process, another engine may answer at the URL
            self._models_read = self.clock()
            models = self.engine_status.check_now()
            if before.state is not LifecycleState.ASLEEP:
                self._log_reason(before.state)
            starts = before.state is LifecycleState.STARTING
            if before.state is LifecycleState.ASLEEP or self.engine_status.sleeping:
                self._apply_sleep(before)
            elif models and (starts or comparable_fields(models) != comparable_fields(before.models)):
                self._apply(LifecycleEvent.READY, process_stage=before.process_stage, models=tuple(models))

    def _apply_sleep(self, before: InstanceSnapshot) -> None:
        """Apply the event if the engine has fallen asleep or woken although this babysitter did not order it."""
        asleep = before.state is LifecycleState.ASLEEP
        if self.engine_status.sleeping and not asleep:
            self._apply(LifecycleEvent.SLEEPS, process_stage=before.process_stage)
        elif asleep and not self.engine_status.reason:
            self._apply(LifecycleEvent.WAKES, process_stage=before.process_stage)

    def apply(self, event: LifecycleEvent, process_stage: int) -> None:
        """Apply an event observed in `process_stage`; do nothing if another stage of the process has begun since."""
        self._apply(event, process_stage=process_stage)

    def end(self) -> None:
        self._apply(LifecycleEvent.BABYSITTER_ENDS)

    def is_healthy(self) -> bool:
        """Return whether the instance runs and its engine is ready."""
        if self.snapshot.state is not LifecycleState.RUNNING:
            return False
        models = self.engine_status.models()
        self._log_reason(LifecycleState.RUNNING)
        return bool(models)

    def models(self) -> Models:
        """Return the models of the instance, or [] if its engine is not ready."""
        return self.engine_status.models()

    def _log_reason(self, state: LifecycleState) -> None:
        """Log each new reason why the engine is not ready. NO_ANSWER is logged only for a running engine."""
        reason, before = self.engine_status.reason, self._reason
        self._reason = reason
        if reason and reason != before and (state is LifecycleState.RUNNING or reason != NO_ANSWER):
            log.info("%s: its engine is not ready: %s", self.config.name, reason)
        elif before and not reason and state is LifecycleState.RUNNING:
            log.info("%s: its engine is ready again", self.config.name)

    def _apply(self, event: LifecycleEvent, process_stage: int | None = None, **changes: Any) -> None:
        with self._lock:
            before = self.snapshot
            if process_stage is not None and process_stage != before.process_stage:
                return  # the event belongs to an earlier stage
            state, actions = step(before.state, event)
            after = before.process_stage + (event not in SAME_STAGE_EVENTS)
            self.snapshot = dataclasses.replace(before, state=state, process_stage=after, **changes)
        if state is not before.state:
            log.info("%s: %s: %s", self.config.name, state.value, event.value)
        self.observe(before.state, event, state)
        for action in actions:
            self.effects[action]()


def model_ids(models: Sequence[dict[str, Any]]) -> list[str]:
    return [model["id"] for model in models]


def comparable_fields(models: Sequence[dict[str, Any]]) -> list[list[Any]]:
    """Return the fields of the models that are compared to find out whether the list has changed."""
    return [[model.get(field) for field in MODEL_FIELDS] for model in models]
