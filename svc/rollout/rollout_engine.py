"""The loop of a rollout: it observes, gets the next actions from `steps`, writes the journal, and acts."""

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

from svc.base.errors import CommandError, SvcError
from svc.rollout.handover_text import staying_text
from svc.rollout.journal import Journal
from svc.rollout.observation import RolloutObservation
from svc.rollout.steps import Decision, RolloutAction, decide, progress_text
from svc.rollout.tasks import InstanceOperation, RolloutLimits, RolloutStage, Step, Task
from svc.site.components import Component
from svc.terminal.delay_report import DelayReport
from svc.terminal.progress import Waiting

POLL_INTERVAL_SECONDS = 0.2
WAKE_INTERVAL_SECONDS = 1.0
STAGES_THAT_END_SOON = (RolloutStage.STOPPING, RolloutStage.RETURNING, RolloutStage.ROUTING)
STAGES_WHEN_HALTED = (RolloutStage.WAITING, RolloutStage.DONE, RolloutStage.FAILED)


class Observing(Protocol):
    """The source of observations; `observer.Observer` implements it."""

    def observe(self, awaited: Iterable[Component] = ()) -> RolloutObservation: ...


class Acting(Protocol):
    """The actions on an instance; `actions.InstanceActions` implements them."""

    def stop(self, task: Task) -> None: ...

    def change(self, task: Task) -> None: ...

    def set_drained(self, task: Task, drained: bool, handover: bool = False) -> bool: ...

    def deregister(self, task: Task) -> bool: ...

    def wake(self, component: Component) -> None: ...


class RolloutStopped(CommandError):
    """Raised at the first instance that does not become ready again. The instances that still wait are left unchanged.

    `program` is the program whose log has the reason, or "".
    """

    def __init__(self, message: str, program: str) -> None:
        super().__init__(message)
        self.program = program


class RolloutEngine:
    """Runs one rollout over the instances of this host. `components` maps names to the components in the files.

    The engine never changes a drain mark that an operator has set.
    """

    def __init__(
        self,
        observer: Observing,
        actions: Acting,
        components: Mapping[str, Component],
        journal: Journal,
        limits: RolloutLimits,
        progress: Waiting,
        delay: DelayReport | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._observer = observer
        self._actions = actions
        self._components = components
        self._journal = journal
        self._limits = limits
        self._progress = progress
        self._delay = delay
        self._clock = clock
        self._sleep = sleep
        self._steps: dict[str, Step] = {}
        self._waited_for: set[str] = set()  # the instances whose `staying_text` was printed
        self._next_wake = 0.0
        self._failure: Decision | None = None
        self._handlers: dict[RolloutAction, Callable[[Step, Decision, RolloutObservation], None]] = {
            RolloutAction.DRAIN: self._drain,
            RolloutAction.HAND_OVER: self._hand_over,
            RolloutAction.CANCEL_DRAIN: lambda step, _decision, _observation: self._cancel_drain(step),
            RolloutAction.STOP: self._stop,
            RolloutAction.CHANGE: self._change,
            RolloutAction.UNDRAIN: self._undrain,
            RolloutAction.FINISH: self._finish,
            RolloutAction.FAIL: lambda step, decision, _observation: self._fail(step, decision),
        }

    def run(self, tasks: Iterable[Task]) -> None:
        """Carry out the tasks. Raise RolloutStopped at the first instance that does not become ready again."""
        now, drained = self._clock(), self._journal.drained
        self._steps = {task.name: Step(task, since=now, owns_drain=task.service_name in drained) for task in tasks}
        while True:
            observation = self._observer.observe(self._awaited())
            before = dict(self._steps)
            for decision in decide(self._steps, observation, self._limits, halted=self._failure is not None):
                self._handlers[decision.action](self._steps[decision.name], decision, observation)
            self._wake(observation)
            self._show_progress(observation)
            if self._is_over():
                break
            if self._steps == before:
                self._sleep(POLL_INTERVAL_SECONDS)
        if self._failure:
            raise self._stopped(self._failure)

    def interrupt(self) -> Iterator[str]:
        """Undrain the instances that are draining but still run; yield a line for each instance that is not done."""
        for name, step in list(self._steps.items()):
            if step.stage is RolloutStage.DRAINING:
                try:
                    self._cancel_drain(step)
                except SvcError as error:
                    yield f"{name}: {error.message}"
                else:
                    yield f"{name}: as it was" + ("" if step.owns_drain else ", drained by the operator")
            elif step.stage not in STAGES_WHEN_HALTED:
                state = "stopping" if step.stage is RolloutStage.STOPPING else "not back yet"
                yield f"{name}: {state}" + (f", and drained: {_cure(name)}" if step.owns_drain else "")
            elif step.stage is RolloutStage.WAITING:
                yield f"{name}: not begun"

    def _wake(self, observation: RolloutObservation) -> None:
        """Ask babysitters, at intervals, to wake the instances on demand that were awake before their operation."""
        if self._clock() < self._next_wake:
            return
        self._next_wake = self._clock() + WAKE_INTERVAL_SECONDS
        for component in self._awaited():
            babysitter = observation.program_states.get(component.babysitter_program)
            if self._steps[component.name].task.wakes and babysitter == "RUNNING":
                self._actions.wake(component)

    def _awaited(self) -> list[Component]:
        names = [name for name, step in self._steps.items() if step.stage is RolloutStage.RETURNING]
        return [self._components[name] for name in names if name in self._components]

    def _show_progress(self, observation: RolloutObservation) -> None:
        for name, step in self._steps.items():
            if step.stage not in (RolloutStage.DONE, RolloutStage.FAILED):
                self._progress.show(name, progress_text(step, observation))
            if step.stage is RolloutStage.DRAINING and name not in self._waited_for:
                self._note_staying(name, step, observation)
        if self._delay:
            self._delay.update([name for name, step in self._steps.items() if step.stage in STAGES_THAT_END_SOON])

    def _note_staying(self, name: str, step: Step, observation: RolloutObservation) -> None:
        """Print `staying_text`, once for each instance: which requests it still waits for, and why."""
        if text := staying_text(step, observation):
            self._waited_for.add(name)
            self._progress.note(f"{name}: {text}")

    def _is_over(self) -> bool:
        over = STAGES_WHEN_HALTED if self._failure else (RolloutStage.DONE,)
        return all(step.stage in over for step in self._steps.values())

    def _enter(self, step: Step, stage: RolloutStage, owns_drain: bool | None = None) -> None:
        owns_drain = step.owns_drain if owns_drain is None else owns_drain
        self._steps[step.task.name] = Step(step.task, stage, self._clock(), owns_drain)

    # One method for each RolloutAction.

    def _drain(self, step: Step, _decision: Decision, observation: RolloutObservation) -> None:
        service = observation.service(step.task.service_name)
        owns = step.owns_drain or (service is not None and step.task.listed and not service.get("drained"))
        if owns and service is not None:
            self._journal.drained.add(step.task.service_name)
            self._journal.write()
            try:
                # After an interrupted rollout, streams may be moving already.
                moves = step.owns_drain and self._limits.handover is not None and bool(service.get("handover"))
                is_drained = self._actions.set_drained(step.task, True, moves)
            except CommandError:  # the registry has refused the drain, so there is none to undo
                if not step.owns_drain:
                    self._forget_drain(step)
                raise
            if not is_drained:
                return  # no registry answers, so the next round of the loop tries again
        self._enter(step, RolloutStage.DRAINING, owns_drain=owns)

    def _hand_over(self, step: Step, decision: Decision, _observation: RolloutObservation) -> None:
        if self._actions.set_drained(step.task, True, handover=True):
            self._steps[step.task.name] = dataclasses.replace(step, handover_since=self._clock())
            self._progress.note(f"{step.task.name}: {decision.text}")

    def _cancel_drain(self, step: Step) -> None:
        if step.owns_drain and not self._actions.set_drained(step.task, False):
            return
        self._forget_drain(step)
        self._enter(step, RolloutStage.WAITING, owns_drain=False)

    def _stop(self, step: Step, decision: Decision, _observation: RolloutObservation) -> None:
        if decision.text:
            self._progress.done(f"{step.task.name} (drain)", decision.text)
        self._journal.begun.add(step.task.name)
        self._journal.write()
        self._actions.stop(step.task)
        self._enter(step, RolloutStage.STOPPING)

    def _change(self, step: Step, _decision: Decision, _observation: RolloutObservation) -> None:
        task = step.task
        self._journal.begun.add(task.name)
        self._journal.write()
        try:
            self._actions.change(task)
        except CommandError as error:
            self._fail(step, Decision(task.name, RolloutAction.FAIL, error.message))
            return
        if task.operation is InstanceOperation.REMOVE:
            self._removed(step)
        else:
            self._enter(step, RolloutStage.RETURNING)

    def _removed(self, step: Step) -> None:
        """Deregister a removed instance, so that its drain mark does not affect a later instance with the same name."""
        text = "removed"
        if step.owns_drain and not self._actions.deregister(step.task):
            name = step.task.service_name
            text = f"removed; the registry still lists it, drained: svc remove {name} takes it out"
        elif step.owns_drain:
            self._actions.set_drained(step.task, False)
        self._journal.begun.discard(step.task.name)
        self._forget_drain(step)
        self._enter(step, RolloutStage.DONE)
        self._progress.done(step.task.name, text)

    def _undrain(self, step: Step, _decision: Decision, _observation: RolloutObservation) -> None:
        if step.owns_drain and not self._actions.set_drained(step.task, False):
            return
        self._forget_drain(step)
        self._enter(step, RolloutStage.ROUTING, owns_drain=False)

    def _finish(self, step: Step, _decision: Decision, observation: RolloutObservation) -> None:
        drained = (observation.service(step.task.service_name) or {}).get("drained")
        self._journal.begun.discard(step.task.name)
        self._journal.done.add(step.task.name)
        self._journal.write()
        self._enter(step, RolloutStage.DONE)
        back = "asleep" if step.task.sleeps else "back"
        self._progress.done(step.task.name, "answers, and stays drained by the operator" if drained else back)

    def _fail(self, step: Step, decision: Decision) -> None:
        if step.stage is RolloutStage.DRAINING:
            self._cancel_drain(step)
        self._enter(self._steps[step.task.name], RolloutStage.FAILED)
        self._failure = self._failure or decision
        self._progress.done(step.task.name, decision.text)

    def _forget_drain(self, step: Step) -> None:
        self._journal.drained.discard(step.task.service_name)
        self._journal.write()

    def _stopped(self, decision: Decision) -> RolloutStopped:
        drained = f"; it stays drained: {_cure(decision.name)}" if self._steps[decision.name].owns_drain else ""
        waiting = [name for name, step in self._steps.items() if step.stage is RolloutStage.WAITING]
        not_begun = f"; not begun: {', '.join(waiting)}" if waiting else ""
        message = f"{decision.program or decision.name}: {decision.text}{drained}{not_begun}"
        return RolloutStopped(message, decision.program)


def _cure(name: str) -> str:
    return f"run this again, or `svc undrain {name}` when it is healthy"
