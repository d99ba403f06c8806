"""Sends demands for instances on demand while requests wait for them, or rules keep them awake.

One job does this for a whole router, whatever its number of processes.

A demand is a lease: it is sent again each second as long as requests wait, and lapses by itself. So nothing has to be
remembered if the router, a babysitter or an instance is killed meanwhile.
"""

import logging
import threading
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial

from svc.config.awake_rules import ModelRule
from svc.router.balance.routing_table import RoutingTable
from svc.router.balance.target import Target
from svc.router.balance.wakes import WakeState
from svc.router.state import RouterState
from svc.router.waking.babysitters import SILENT, AddressedDemand, Babysitters, Refusal
from svc.router.waking.choice import choose, why_impossible
from svc.router.waking.need import ModelInstances, Need, instances_on_demand, need_of

log = logging.getLogger(__name__)
DEMAND_INTERVAL_SECONDS = 1.0  # a babysitter forgets a demand after three of these intervals
ROUND_INTERVAL_SECONDS = 0.25  # time between two rounds while requests wait
HOLD_INTERVAL_SECONDS = 3.0  # time between two demands that only keep instances awake
HOLD_SECONDS = 12.0
OFFER_INTERVAL_SECONDS = 5.0  # time until other instances are asked again, while the chosen one is still asleep
AVOID_SECONDS = 10.0  # an instance whose babysitter refuses a demand is not chosen for this time
SILENCE_SECONDS = 30.0  # a babysitter restarts within seconds; after this time requests do not wait for it any more
# Maximum of wakes with a step in progress. Each step runs in a thread of its own, and takes seconds at most.
MAX_STEPS = 32
STATE_SECONDS = 5.0  # after this time, a wake no longer counts as impossible

Spawn = Callable[[Callable[[], None]], object]
RuleAt = Callable[[str, datetime], ModelRule]


def _why_not_ready(target: Target) -> str:
    """Return that an instance is starting, and how its previous process ended; empty if it is not starting."""
    if target.status != "starting":
        return ""
    if not target.restart_reason:
        return f"{target.name} is still loading"
    return f"{target.name} is starting; its process has ended before: {target.restart_reason}"


def spawn(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="wake", daemon=True).start()


class ModelWake:
    """The wake of one model: which instances were chosen, and what their babysitters have answered."""

    def __init__(self, instances: ModelInstances, now: float) -> None:
        self.instances = instances
        self.chosen: tuple[str, ...] = ()
        self.busy = False  # whether its babysitters are being asked
        self.due = 0.0
        self.offers_due = 0.0
        self.avoided: dict[str, float] = {}  # instance -> time until which it is not chosen
        self.accepted_at = now  # when a babysitter last accepted a demand; at first, when the wake began
        self.state: WakeState | None = None
        self.state_until = 0.0


class Waker:
    """The job that sends demands. `run_round` is called each ROUND_INTERVAL_SECONDS, and when a wait begins."""

    def __init__(
        self,
        state: RouterState,
        babysitters: Babysitters,
        rule_at: RuleAt,
        clock: Callable[[], float],
        now: Callable[[], datetime] = datetime.now,
        spawn: Spawn = spawn,
    ) -> None:
        self._state = state
        self._babysitters = babysitters
        self._rule_at = rule_at
        self._clock = clock
        self._now = now
        self._spawn = spawn
        self._wakes: dict[str, ModelWake] = {}
        self._table: RoutingTable | None = None  # the table from which `_models` was made
        self._models: dict[str, ModelInstances] = {}  # the table's models that have instances on demand
        self._changed_at: dict[str, tuple[int, float]] = {}  # model -> number of awake instances, and when it last rose

    def run_round(self) -> float:
        """Begin what is due for each model; return the seconds until the next round."""
        balancer, now = self._state.balancer, self._clock()
        if self._table is not balancer.table:
            self._table, self._models = balancer.table, instances_on_demand(balancer.table)
        models = self._models
        self._changed_at = {model: self._change(model, instances, now) for model, instances in models.items()}
        lengths = balancer.queue.lengths() if balancer.queue.waiting and models else {}
        oldest = balancer.queue.oldest() if lengths else {}
        due: list[tuple[ModelWake, Callable[[], None]]] = []
        for model, instances in models.items():
            self._forget_if_changed(model, instances)
            waiting, seconds = lengths.get(model, 0), max(0.0, now - oldest.get(model, now))
            rule = self._rule_at(model, self._now())
            need = need_of(instances, waiting, seconds, now - self._changed_at[model][1], rule)
            if need:
                wake = self._wakes.setdefault(model, ModelWake(instances, now))
                if not wake.busy and now >= wake.due:
                    due.append((wake, partial(self._take_step, model, wake, instances, need, waiting, seconds)))
            elif model in self._wakes and not self._wakes[model].busy and self._wakes[model].state_until <= now:
                del self._wakes[model]
        for model in [model for model in self._wakes if model not in models and not self._wakes[model].busy]:
            del self._wakes[model]
        self._begin(due)
        self._publish()
        return ROUND_INTERVAL_SECONDS if lengths else DEMAND_INTERVAL_SECONDS

    def _forget_if_changed(self, model: str, instances: ModelInstances) -> None:
        """Forget that a model could not be woken if its instances have changed since.

        The reason of a possible wake stays until the next demand, because an engine that crashes while it loads changes
        its registration every few seconds, and requests that wait meanwhile get the reason.
        """
        wake = self._wakes.get(model)
        if wake is not None and wake.instances != instances:
            wake.instances, wake.offers_due = instances, 0.0
            if wake.state is not None and wake.state.impossible:
                wake.state = None

    def _change(self, model: str, instances: ModelInstances, now: float) -> tuple[int, float]:
        """Return the number of awake instances of a model, and the time at which the last of them woke."""
        awake = len(instances.awake) + instances.permanent
        before, at = self._changed_at.get(model, (0, float("-inf")))
        return awake, now if awake > before else at

    def _begin(self, due: Iterable[tuple[ModelWake, Callable[[], None]]]) -> None:
        """Begin the steps that are due, the longest due first, as long as fewer than MAX_STEPS are in progress."""
        places = MAX_STEPS - sum(wake.busy for wake in self._wakes.values())
        for wake, step in sorted(due, key=lambda item: item[0].due)[: max(0, places)]:
            wake.busy = True
            self._spawn(step)

    def _take_step(
        self, model: str, wake: ModelWake, instances: ModelInstances, need: Need, waiting: int, seconds: float
    ) -> None:
        """Take the next step of a wake, and note when the one after it is due."""
        try:
            self._step(model, wake, instances, need, waiting, seconds)
        except Exception:  # noqa: BLE001 - a failure of one model must not end the wakes of others
            log.exception("the wake of model %s failed", model)
        finally:
            wake.busy = False
            interval = DEMAND_INTERVAL_SECONDS if waiting else HOLD_INTERVAL_SECONDS
            wake.due = max(wake.due, self._clock() + interval - ROUND_INTERVAL_SECONDS / 2)
            self._publish()

    def _step(
        self, model: str, wake: ModelWake, instances: ModelInstances, need: Need, waiting: int, seconds: float
    ) -> None:
        """Choose the instances to wake, if more are needed, and send the demands."""
        self._choose(model, wake, instances, need, waiting)
        by_name = {target.name: target for target in instances.asleep}
        chosen = [by_name[name] for name in wake.chosen if name in by_name]
        kept_awake = {target.name for target in (*need.kept_awake, *chosen[: need.more_kept_awake])}
        fields = {"waiting": waiting, "oldest": round(seconds, 3), "by": self._state.event_reporter.source}
        recipients = {target.name: target for target in (*chosen, *need.demanded, *need.kept_awake)}
        demands = [
            (target, fields | ({"hold": HOLD_SECONDS} if name in kept_awake else {}))
            for name, target in recipients.items()
        ]
        if demands:
            self._send(wake, demands, {target.name for target in chosen})

    def _choose(self, model: str, wake: ModelWake, instances: ModelInstances, need: Need, waiting: int) -> None:
        now = self._clock()
        wake.avoided = {name: until for name, until in wake.avoided.items() if until > now}
        candidates = [target for target in instances.asleep if target.name not in wake.avoided]
        kept = [target.name for target in candidates if target.name in wake.chosen]
        if len(kept) >= need.more and now < wake.offers_due:
            wake.chosen = tuple(kept[: need.more])
            return
        if not need.more:
            wake.chosen = ()
            return
        offers = self._babysitters.offers(candidates)
        wake.offers_due = self._clock() + OFFER_INTERVAL_SECONDS
        valid = {name: offer for name, offer in offers.items() if offer is not None}
        wake.chosen = choose(valid, kept, need.more)
        for name in wake.chosen:
            if name not in kept:
                self._report(model, name, waiting)
        if wake.chosen:
            return
        silent = [f"{target.name}: {SILENT}" for target in candidates if target.name not in valid]
        reason = "; ".join(filter(None, (why_impossible(valid), *silent)))
        is_long = self._clock() - wake.accepted_at >= SILENCE_SECONDS
        if not candidates and wake.state is not None:  # all have refused: their reasons stay
            reason = wake.state.reason
        self._set_state(wake, WakeState(reason, impossible=is_long or bool(candidates and not silent)))

    def _report(self, model: str, name: str, waiting: int) -> None:
        """Count and report that an instance was chosen."""
        self._state.balancer.wakes.wake_counts[model] += 1
        requests = f"{waiting} request{'s' if waiting > 1 else ''} for {model} wait" + ("s" if waiting == 1 else "")
        cause = requests if waiting else f"the rules keep {model} awake"
        self._state.event_reporter.add("wake", name, cause)
        log.info("%s is woken: %s", name, cause)

    def _send(self, wake: ModelWake, demands: list[AddressedDemand], chosen: set[str]) -> None:
        """Send the demands, and note why some of the instances are not awake yet."""
        answers = self._babysitters.demand(demands)
        reasons = []
        for target, _ in demands:
            name, answer = target.name, answers[target.name]
            if not isinstance(answer, Refusal):
                wake.accepted_at = self._clock()
                if target.status != "running":
                    reasons.append(answer.reason or _why_not_ready(target))
            elif name in chosen:
                reasons.append(f"{name}: {answer.reason}")
                wake.avoided[name] = self._clock() + AVOID_SECONDS
                wake.chosen = tuple(other for other in wake.chosen if other != name)
                wake.offers_due = 0.0
        reason = "; ".join(dict.fromkeys(filter(None, reasons)))
        if reason or wake.chosen:  # otherwise the state that the offers have shown is kept
            self._set_state(wake, WakeState(reason) if reason else None)

    def _set_state(self, wake: ModelWake, state: WakeState | None) -> None:
        wake.state = state
        wake.state_until = self._clock() + STATE_SECONDS if state is not None else 0.0

    def _publish(self) -> None:
        """Give the states of the models that are asleep to the balancer, if they have changed."""
        now = self._clock()
        states = {
            model: wake.state
            for model, wake in self._wakes.items()
            if wake.state is not None and (wake.state_until > now or not wake.state.impossible)
        }
        if states != self._state.balancer.wakes.states:
            self._state.balancer.use_wake_states(states)
