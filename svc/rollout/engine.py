"""Carries a rollout out: looks, lets `steps` decide, does it, and writes down what it is about to do."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from svc.base.errors import CommandError, NotFound, SvcError
from svc.rollout.journal import Journal
from svc.rollout.observation import Scene
from svc.rollout.observer import Eyes
from svc.rollout.steps import Act, Do, Limits, Move, Stage, Step, Task, doing, moves
from svc.site.access import RegistryUnreachable, explained
from svc.site.components import Component
from svc.terminal.progress import Waiting

PAUSE = 0.2  # seconds between two looks
OVER = (Stage.WAITING, Stage.DONE, Stage.FAILED)


class Stopped(CommandError):
    """An instance did not come back; the rest is as it was."""

    def __init__(self, message: str, program: str) -> None:
        super().__init__(message)
        self.program = program  # whose log tells more; empty where none does


class Engine:
    """One rollout over the instances of this host. `components` are those that there will be, by name."""

    def __init__(
        self,
        eyes: Eyes,
        components: Mapping[str, Component],
        journal: Journal,
        limits: Limits,
        shown: Waiting,
    ) -> None:
        self.eyes = eyes
        self.supervisord = eyes.supervisord
        self.client = eyes.client
        self.components = components
        self.journal = journal
        self.limits = limits
        self.shown = shown
        self.steps: dict[str, Step] = {}
        self.failure: Move | None = None
        self._moves: dict[Do, Callable[[Step, Move, Scene], None]] = {
            Do.TAKE: self._take,
            Do.GIVE_BACK: self._give_back,
            Do.STOP: self._stop,
            Do.CHANGE: self._change,
            Do.UNDRAIN: self._undrain,
            Do.FINISH: self._finish,
            Do.FAIL: self._fail,
        }

    def run(self, tasks: Iterable[Task]) -> None:
        """Raises Stopped at the first that does not come back, CommandError for what is refused."""
        now = time.monotonic()
        self.steps = {t.name: Step(t, since=now, ours=t.instance in self.journal.ours) for t in tasks}
        while True:
            scene = self.eyes.scene(self._waited())
            before = dict(self.steps)
            for move in moves(self.steps, scene, self.limits, halted=self.failure is not None):
                self._moves[move.do](self.steps[move.name], move, scene)
            for name, step in self.steps.items():
                if step.stage not in (Stage.DONE, Stage.FAILED):
                    self.shown.show(name, doing(step, scene))
            if all(s.stage in (OVER if self.failure else (Stage.DONE,)) for s in self.steps.values()):
                break
            if self.steps == before:
                time.sleep(PAUSE)
        if self.failure:
            raise self._stopped(self.failure)

    def interrupted(self) -> Iterator[str]:
        """Takes our marks from those that still serve; what is left of the others, in words."""
        for name, step in list(self.steps.items()):
            if step.stage is Stage.DRAINING:
                try:
                    self._give_back(step, Move(name, Do.GIVE_BACK), None)
                except SvcError as error:
                    yield f"{name}: {error.message}"
                else:
                    yield f"{name}: as it was" + ("" if step.ours else ", drained by the operator")
            elif step.stage not in OVER:
                held = f", and drained: run this again, or `svc undrain {name}` when it is well" if step.ours else ""
                yield f"{name}: {'stopping' if step.stage is Stage.STOPPING else 'not back yet'}{held}"
            elif step.stage is Stage.WAITING:
                yield f"{name}: not begun"

    def _waited(self) -> list[Component]:
        names = [name for name, step in self.steps.items() if step.stage is Stage.RETURNING]
        return [self.components[name] for name in names if name in self.components]

    def _at(self, step: Step, stage: Stage, ours: bool | None = None) -> None:
        ours = step.ours if ours is None else ours
        self.steps[step.task.name] = Step(step.task, stage, time.monotonic(), ours)

    # Moves.

    def _take(self, step: Step, _move: Move, scene: Scene) -> None:
        """An operator's mark is left alone, now and in the end."""
        told = (scene.services or {}).get(step.task.instance)
        ours = step.ours or (told is not None and step.task.listed and not told.get("drained"))
        if ours and told is not None:
            self.journal.ours.add(step.task.instance)
            self.journal.write()
            if not self._mark(step, drained=True):
                return  # the registry is away: again at the next look
        self._at(step, Stage.DRAINING, ours=ours)

    def _give_back(self, step: Step, _move: Move, _scene: Scene | None) -> None:
        if step.ours and not self._mark(step, drained=False):
            return
        self._forget(step)
        self._at(step, Stage.WAITING, ours=False)

    def _stop(self, step: Step, move: Move, _scene: Scene) -> None:
        if move.text:
            self.shown.done(f"{step.task.name} (drain)", move.text)
        self.journal.begun.add(step.task.name)
        self.journal.write()
        if step.task.name in self.supervisord.groups():
            self.supervisord.stop(f"{step.task.name}:*", wait=False)
        self._at(step, Stage.STOPPING)

    def _change(self, step: Step, move: Move, scene: Scene) -> None:
        task = step.task
        self.journal.begun.add(task.name)
        self.journal.write()
        try:
            self._act(task)
        except CommandError as error:
            self._fail(step, Move(task.name, Do.FAIL, error.message), scene)
            return
        if task.act is Act.REMOVE:
            self._gone(step)
        else:
            self._at(step, Stage.RETURNING)

    def _act(self, task: Task) -> None:
        there = task.name in self.supervisord.groups()
        if task.act in (Act.REPLACE, Act.REMOVE) and there:
            self.supervisord.remove(task.name)
        if task.act is Act.REMOVE:
            return
        if task.act in (Act.REPLACE, Act.ADD) or not there:
            self.supervisord.changes()  # supervisord reads the files
            if task.name not in self.supervisord.groups():
                self.supervisord.add(task.name)
        self.supervisord.start(f"{task.name}:*", wait=False)

    def _gone(self, step: Step) -> None:
        """Its babysitter has taken it out of the registry; a mark of ours must not wait there for its next life."""
        text = "removed"
        if step.ours and self.client is not None:
            if self._unregistered(step.task):
                self._mark(step, drained=False)
            else:
                text = f"removed; the registry still lists it, drained: svc remove {step.task.instance} takes it out"
        self.journal.begun.discard(step.task.name)
        self._forget(step)
        self._at(step, Stage.DONE)
        self.shown.done(step.task.name, text)

    def _undrain(self, step: Step, _move: Move, _scene: Scene) -> None:
        if step.ours and not self._mark(step, drained=False):
            return
        self._forget(step)
        self._at(step, Stage.ROUTING, ours=False)

    def _finish(self, step: Step, _move: Move, scene: Scene) -> None:
        told = (scene.services or {}).get(step.task.instance, {})
        self.journal.begun.discard(step.task.name)
        self.journal.done.add(step.task.name)
        self.journal.write()
        self._at(step, Stage.DONE)
        self.shown.done(step.task.name, "answers, and stays drained by the operator" if told.get("drained") else "back")

    def _fail(self, step: Step, move: Move, _scene: Scene) -> None:
        if step.stage is Stage.DRAINING:
            self._give_back(step, move, None)
        self._at(self.steps[step.task.name], Stage.FAILED)
        self.failure = self.failure or move
        self.shown.done(step.task.name, move.text)

    # What they share.

    def _mark(self, step: Step, drained: bool) -> bool:
        """Whether the registry has heard it, or knows no such instance."""
        if self.client is None:
            return True
        try:
            with explained(f"{'drain' if drained else 'undrain'} {step.task.name}", self.client):
                self.client.drain(step.task.instance, drained)
        except RegistryUnreachable:
            return False
        except NotFound:
            pass
        return True

    def _unregistered(self, task: Task) -> bool:
        """Whether the registry has neither name any more: its babysitter took them away, or we do."""
        assert self.client is not None
        try:
            with explained(f"remove {task.name}", self.client):
                for name in (task.instance, task.name):
                    try:
                        self.client.deregister(name)
                    except NotFound:
                        continue
        except CommandError:
            return False
        return True

    def _forget(self, step: Step) -> None:
        self.journal.ours.discard(step.task.instance)
        self.journal.write()

    def _stopped(self, move: Move) -> Stopped:
        step = self.steps[move.name]
        held = ""
        if step.ours:
            held = f"; it stays drained: run this again, or `svc undrain {move.name}` when it is well"
        rest = [name for name, other in self.steps.items() if other.stage is Stage.WAITING]
        left = f"; not begun: {', '.join(rest)}" if rest else ""
        return Stopped(f"{move.program or move.name}: {move.text}{held}{left}", move.program)
