"""The babysitter: what is seen of the instance goes through the table of lifecycle.py, and what follows is done."""

import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from svc.babysitter.engine_status import NO_ANSWER, Answers, Models
from svc.babysitter.instance_watch import Sighting, Watch, happened
from svc.babysitter.lifecycle import OF_ITSELF, Action, Event, State, step
from svc.babysitter.model_refresh import Refresh
from svc.config.instance.model import InstanceConfig

log = logging.getLogger(__name__)
MODELS_INTERVAL_SECONDS = 5.0  # between looks at the model list of a running engine
LISTED = (State.STARTING, State.RUNNING, State.HUNG)  # in these an engine's model list counts
# What is compared of a listed model. Other fields carry times and random numbers (vLLM's `created`, `permission`).
MODEL_FIELDS = ("id", "root", "parent", "max_model_len")


@dataclasses.dataclass(frozen=True, slots=True)
class Picture:
    """All that is known of the instance at one moment."""

    state: State = State.UNSEEN
    life: int = 0  # counts what happened to the process, so that an answer of an earlier one is told apart
    sighting: Sighting | None = None
    models: tuple[dict[str, Any], ...] = ()  # as last listed; a restart keeps them until it lists its own


class Babysitter:
    """One writer of the picture. `effects` does what the table asks for and must not block, but for LEAVE."""

    def __init__(
        self,
        config: InstanceConfig,
        watch: Watch,
        answers: Answers,
        effects: Mapping[Action, Callable[[], object]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.config = config
        self.watch = watch
        self.answers = answers
        self.effects = effects
        self.clock = clock
        self.born = clock()
        self.picture = Picture()
        self._asked = float("-inf")
        self._reason = NO_ANSWER  # why the engine was not ready, as last logged
        self._lock = threading.Lock()
        self._look_lock = threading.Lock()  # one look at a time: an older list never replaces a newer one
        self.refresh = Refresh(self._look_at_models)  # look now, whatever is due

    def observe(self) -> None:
        """One look at the process."""
        now = self.watch.look()
        if now is None:
            return
        event = happened(self.picture.sighting, now)
        if event is None:
            self.picture = dataclasses.replace(self.picture, sighting=now)
        else:
            self.answers.forget()
            self._apply(event, sighting=now)

    def ask(self) -> None:
        """Check the engine: until it is ready, then now and then, for models that it loads later."""
        state = self.picture.state
        due = self.clock() >= self._asked + min(MODELS_INTERVAL_SECONDS, self.config.heartbeat_interval)
        if state is State.STARTING or (state is State.RUNNING and due):
            self._look_at_models()

    def _look_at_models(self) -> None:
        with self._look_lock:
            before = self.picture
            if before.state not in LISTED:
                return
            self._asked = self.clock()
            models = self.answers.fresh()
            self._log_reason(before.state)
            if models and (before.state is State.STARTING or facts(models) != facts(before.models)):
                self._apply(Event.ANSWERED, life=before.life, models=tuple(models))

    def found(self, event: Event, life: int) -> None:
        """What a closer look at the process of this `life` has shown; nothing, where another one runs meanwhile."""
        self._apply(event, life=life)

    def end(self) -> None:
        self._apply(Event.ENDING)

    def runs(self) -> bool:
        """Return whether the instance runs and its engine is ready."""
        if self.picture.state is not State.RUNNING:
            return False
        models = self.answers.models()
        self._log_reason(State.RUNNING)
        return bool(models)

    def models(self) -> Models:
        """Return the models of the instance; [] while its engine is not ready."""
        return self.answers.models()

    def _log_reason(self, state: State) -> None:
        """Log each new reason why the engine is not ready; one that starts need not answer yet."""
        reason, before = self.answers.reason, self._reason
        self._reason = reason
        if reason and reason != before and (state is State.RUNNING or reason != NO_ANSWER):
            log.info("%s: its engine is not ready: %s", self.config.name, reason)
        elif before and not reason and state is State.RUNNING:
            log.info("%s: its engine is ready again", self.config.name)

    def _apply(self, event: Event, life: int | None = None, **seen: Any) -> None:
        with self._lock:
            before = self.picture
            if life is not None and life != before.life:
                return  # it is about an earlier process
            state, actions = step(before.state, event)
            after = before.life + (event not in OF_ITSELF)
            self.picture = dataclasses.replace(before, state=state, life=after, **seen)
        if state is not before.state:
            log.info("%s: %s: %s", self.config.name, state.value, event.value)
        for action in actions:
            self.effects[action]()


def ids(models: Models | tuple[dict[str, Any], ...]) -> list[str]:
    return [m["id"] for m in models]


def facts(models: Models | tuple[dict[str, Any], ...]) -> list[list[Any]]:
    """Return what two lists of models are compared by."""
    return [[model.get(field) for field in MODEL_FIELDS] for model in models]
