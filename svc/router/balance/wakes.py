"""Requests that wait until an on-demand instance is awake: how long they may wait, and their errors. Pure."""

from collections import Counter
from collections.abc import Callable, Mapping

import msgspec

from svc.base.errors import Unavailable
from svc.router.balance.request_queue import Waiter
from svc.router.balance.routing_table import RoutingTable

ASLEEP_RETRY_SECONDS = 10  # a retry can still profit from the wake, which goes on for a while without waiting requests
IMPOSSIBLE_RETRY_SECONDS = 60  # a wake that is impossible rarely becomes possible sooner


class WakeState(msgspec.Struct, frozen=True):
    """Why no instance of a model is awake yet. `impossible`: none can be woken, so that requests do not wait."""

    reason: str
    impossible: bool = False


WakeStates = Mapping[str, WakeState]  # model -> its state


class ModelAsleep(Unavailable):
    """All instances of the model are asleep, and none has woken in time, or none can be woken."""

    code = "model_asleep"

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after

    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(self.retry_after)}


class Wakes:
    """What the balancer knows about the models whose instances are asleep, and about those that have woken.

    `on_wait` is called when a request begins to wait for a model that is asleep.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.states: WakeStates = {}  # never changed, only replaced as a whole
        self.wake_counts: Counter[str] = Counter()  # model -> how often an instance of it was chosen to be woken
        self.on_wait: Callable[[], object] = lambda: None
        self._clock = clock
        self._woken_at: dict[str, float] = {}  # model -> monotonic seconds at which a table last showed that it woke

    def replace_table(self, before: RoutingTable, after: RoutingTable) -> None:
        """Note which models have woken between two tables. Forget the states: a wake may have become possible."""
        if self.states and before.targets != after.targets:
            self.states = {}
        for model in before.asleep.keys() - after.asleep.keys():
            self._woken_at[model] = self._clock()
        if len(self._woken_at) > len(after.models):
            self._woken_at = {model: at for model, at in self._woken_at.items() if model in after.models}

    def may_wait(self, model: str | None, table: RoutingTable) -> bool:
        """Return whether a model without a candidate has an instance that is about to return, or that can be woken."""
        return model in table.returning or (model in table.asleep and not self._is_impossible(model))

    def _is_impossible(self, model: str | None) -> bool:
        state = self.states.get(model or "")
        return state is not None and state.impossible

    def begin(self, model: str | None, table: RoutingTable, waiter: Waiter, seconds: float) -> None:
        """If the model is asleep, let a new waiter wait until the model's `wake_timeout` is over.

        `seconds`: how long the request may wait otherwise.
        """
        if model in table.asleep:
            waiter.deadline = self._deadline(model, table, waiter.since, seconds)
            self.on_wait()

    def extend(self, model: str | None, table: RoutingTable, waiter: Waiter, seconds: float) -> bool:
        """Extend an expired wait if the model has fallen asleep or woken meanwhile; return whether the wait goes on."""
        deadline = self._deadline(model, table, waiter.since, seconds)
        if deadline <= max(waiter.deadline, self._clock()):
            return False
        waiter.deadline, waiter.expired = deadline, False
        return True

    def _deadline(self, model: str | None, table: RoutingTable, since: float, seconds: float) -> float:
        """Return the time at which the wait of a request ends. `since`: when the wait began.

        While the model is asleep, the wait ends after the `wake_timeout` of its instances. Otherwise it ends after
        `seconds`, as that of any other request. If the model woke during the wait, the seconds count from then on.
        """
        if model is not None and model in table.asleep:
            return since + table.asleep[model]
        return seconds + max(since, self._woken_at.get(model or "", since))

    def reason(self, model: str | None) -> str:
        """Return why no instance of the model is awake; empty if nothing is known about that."""
        state = self.states.get(model or "")
        return state.reason if state is not None else ""

    def explanation(self, model: str, seconds: float) -> str:
        """Return what would happen to a request whose model is asleep. `seconds`: how long it may wait."""
        because = f"; none is awake yet: {self.reason(model)}" if self.reason(model) else ""
        return f"its instances are asleep: one would be woken, and it would wait up to {seconds:g} s{because}"

    def error(self, model: str, seconds: float) -> ModelAsleep:
        """Return the error for a request whose model is asleep. `seconds`: how long it may have waited."""
        because = f": {self.reason(model)}" if self.reason(model) else ""
        if self._is_impossible(model):
            message = f"model '{model}' is asleep, and none of its instances can be woken{because}"
            return ModelAsleep(message, IMPOSSIBLE_RETRY_SECONDS)
        message = f"model '{model}' is asleep, and no instance of it was awake within {seconds:g} s{because}"
        return ModelAsleep(message, ASLEEP_RETRY_SECONDS)
