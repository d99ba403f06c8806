"""The loop of an instance with GPUs or on demand: reports facts to supervisord's extension, and carries out its orders.

The extension decides for the whole host, because it alone sees all programs. It repeats an order until the facts show
that the order was carried out, so a babysitter that was restarted needs no state of the one before.
"""

import dataclasses
import logging
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any, Protocol

import msgspec

from svc.babysitter.lifecycle import LifecycleEvent, LifecycleState
from svc.babysitter.monitor import InstanceSnapshot, Monitor
from svc.babysitter.on_demand.engine_sleep import SLEEP, WAKE, EngineSleep
from svc.babysitter.on_demand.fact_collector import SERVING_STATES, FactCollector
from svc.babysitter.on_demand.host_memory import HostMemory
from svc.babysitter.on_demand.release import Release
from svc.base.errors import SvcError
from svc.protocol.instance_names import server_program
from svc.supervision.on_demand.instance_facts import InstanceFacts, Offer, Order

log = logging.getLogger(__name__)
INTERVAL_SECONDS = 0.5  # while the instance runs: within this time it begins to make room for another
QUIET_INTERVAL_SECONDS = 2.0  # while the instance does not run and has no demand; POST /wake begins a round at once
WAIT_INTERVAL_SECONDS = 0.2
STEP_INTERVAL_SECONDS = 0.1  # between two steps of a short drain, and between two measurements
SHORT_DRAIN_SECONDS = 2.0
WITHDRAWAL_SECONDS = 0.5  # a drain ends if no order `release` has come for so long; one other order does not end it
MAX_OFFER_AGE_SECONDS = 0.2
ORDER_TIMEOUT_SECONDS = 5.0  # an instance that gives way serves again after this time without an order
UNREPORTED_STATES = (LifecycleState.UNSEEN, LifecycleState.GONE)


class ExtensionClient(Protocol):
    """The methods of supervisord's extension. They raise SvcError if it does not answer or refuses."""

    def report(self, name: str, facts: InstanceFacts) -> Order: ...

    def put_to_sleep(self, name: str) -> bool: ...

    def offer(self, name: str) -> Offer: ...


@dataclasses.dataclass(frozen=True, slots=True)
class Effects:
    """What the loop does besides calls of the extension. `poll_process` has the process polled at once.

    `keep_models` writes the models to a file, for the time after the instance has fallen asleep. `ring` has the
    babysitters of the site begin a round.
    """

    stop_program: Callable[[], object]
    poll_process: Callable[[], None]
    keep_models: Callable[[tuple[dict[str, Any], ...]], None]
    ring: Callable[[], None]


class OnDemand:
    """The loop of one instance: call `run_round` again and again; it returns the seconds until the next round.

    `engine` puts the engine to sleep and wakes it; it is None if the instance's program is stopped instead. `clock` is
    monotonic.
    """

    def __init__(
        self,
        monitor: Monitor,
        extension: ExtensionClient,
        facts: FactCollector,
        memory: HostMemory,
        engine: EngineSleep | None,
        effects: Effects,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.monitor = monitor
        self.config = monitor.config
        self.facts = facts
        self.history = facts.history
        self.engine = engine
        self.order = Order("stay")
        self.problem = ""  # why there is no order
        self._program = server_program(self.config.name)
        self._extension = extension
        self._memory = memory
        self._effects = effects
        self._clock = clock
        self._ordered_at = clock()  # when the last order arrived
        self._release: Release | None = None
        self._released_at = float("-inf")  # when the last order `release` arrived
        self._has_process = False
        self._reported_status = ""  # in the last report that was answered
        self._sleep_began = float("-inf")  # when the instance was last stopped or put to sleep, after its drain
        self._offer: tuple[float, Offer] | None = None  # the last offer, and when it was made
        self._offer_lock = threading.Lock()

    @property
    def reason(self) -> str:
        """Return why the instance is in its state, or what delays it."""
        return self.problem or "; ".join(filter(None, (self.order.reason, self._delay)))

    @property
    def _delay(self) -> str:
        """Why the instance, which gives way, has not fallen asleep yet; empty if it does not give way."""
        if self._release is None:
            return ""
        return self._release.waits_for(self.facts.knows_draining, self.facts.activity.in_flight)

    def metadata(self) -> dict[str, Any]:
        """Return the part of the registration that routers need to wake the instance."""
        if not self.config.on_demand:
            return {}
        load_seconds = self.history.load_seconds
        return {
            "on_demand": True,
            "wake_timeout": self.config.wake_timeout,
            "resources": self.config.resources.to_json(),
            **({} if load_seconds is None else {"load_seconds": load_seconds}),
        }

    def describe(self) -> dict[str, Any]:
        """Return the part of /info about sleep."""
        facts, woken, slept = self.facts, self.history.woken, self.history.slept
        return {
            "reason": self.reason or None,
            "demand": msgspec.to_builtins(facts.demands.current()),
            "in_flight": facts.activity.in_flight,
            "idle_seconds": round(facts.idle_seconds, 1),
            "idle_after": self.config.idle_after,
            "min_awake": self.config.min_awake,
            "wake_timeout": self.config.wake_timeout,
            "sleep": self.config.sleep,
            "keep": self.config.keep,
            "load_seconds": self.history.load_seconds,
            "loads": self.history.loads,
            "sleeps": self.history.sleeps,
            "woken": woken.to_json() if woken else None,
            "slept": slept.to_json() if slept else None,
        }

    def offer(self) -> Offer:
        """Return what it would cost to wake the instance; raise SvcError if the extension does not answer.

        Calls within MAX_OFFER_AGE_SECONDS get the same offer.
        """
        with self._offer_lock:
            if self._offer is None or self._clock() - self._offer[0] > MAX_OFFER_AGE_SECONDS:
                self._offer = self._clock(), self._extension.offer(self._program)
            return self._offer[1]

    def observe(self, before: LifecycleState, event: LifecycleEvent, after: LifecycleState) -> None:
        """Note an event of the lifecycle; keep the models; stop the program of a sleeping engine that has died.

        supervisord would start it again, although others have the memory of its GPUs by now.
        """
        self.history.observe(before, event, after)
        if event is LifecycleEvent.READY and before is LifecycleState.STARTING:
            self.facts.demands.end_waiting()
        if event is LifecycleEvent.READY:
            self._effects.keep_models(self.monitor.snapshot.models)
        if before is LifecycleState.ASLEEP and event is LifecycleEvent.EXITED and self._has_process:
            self._stop("its engine ended while it slept")

    def run_round(self) -> float:
        """Report the facts once, and carry out the order."""
        snapshot = self.monitor.snapshot
        if snapshot.state in UNREPORTED_STATES:
            return INTERVAL_SECONDS
        self._has_process = snapshot.has_process
        facts = self.facts.collect(snapshot)
        facts = msgspec.structs.replace(facts, delay=self._delay)
        try:
            order = self._extension.report(self._program, facts)
            if order.action == "measure":
                facts = msgspec.structs.replace(facts, gpus=self._memory.measure(), has_tool=self._memory.has_tool())
                order = self._extension.report(self._program, facts)
            self._ordered(order, facts)
            return self._carry_out(order, facts, snapshot)
        except (SvcError, ValueError) as error:
            return self._without_order(getattr(error, "message", str(error)), snapshot)

    def _ordered(self, order: Order, facts: InstanceFacts) -> None:
        begins_to_wait = order.action == "wait" != self.order.action
        if begins_to_wait or facts.status == "asleep" != self._reported_status:
            self._effects.ring()  # others may have to give way to it, or may have waited for its memory
        self._reported_status = facts.status
        if self.problem:
            log.info("%s: supervisord gives orders again", self.config.name)
        if order != self.order:
            log.debug("%s: %s: %s", self.config.name, order.action, order.reason)
        self.order, self.problem, self._ordered_at = order, "", self._clock()

    def _carry_out(self, order: Order, facts: InstanceFacts, snapshot: InstanceSnapshot) -> float:
        """Carry out an order that was given for these facts; return the seconds until the next round."""
        if order.action == "release":
            return self._make_room(order, facts, snapshot)
        if self._clock() - self._released_at < WITHDRAWAL_SECONDS and snapshot.state is LifecycleState.RELEASING:
            return STEP_INTERVAL_SECONDS
        self._serve_again(snapshot)
        if order.action == "wake":
            self._wake_engine(snapshot)
        if order.action == "measure":
            return STEP_INTERVAL_SECONDS
        if facts.demand and snapshot.state is LifecycleState.ASLEEP:
            if order.action == "stay":
                self._effects.poll_process()  # the extension may just have started the program
            return WAIT_INTERVAL_SECONDS
        is_quiet = snapshot.state not in SERVING_STATES and not facts.demand
        return QUIET_INTERVAL_SECONDS if is_quiet or not self.config.on_demand else INTERVAL_SECONDS

    def _make_room(self, order: Order, facts: InstanceFacts, snapshot: InstanceSnapshot) -> float:
        """Take the next step of an instance that gives way: drain it, or put it to sleep if nothing is in flight."""
        self._released_at = now = self._clock()
        if snapshot.state is LifecycleState.RUNNING:
            self.history.expect_sleep(self.facts.sleep_wish or order.reason)
            self.monitor.apply(LifecycleEvent.RELEASED, snapshot.process_stage)
            self._release = Release(now)
            return STEP_INTERVAL_SECONDS
        if snapshot.state is LifecycleState.STARTING:  # nothing is in flight: the extension stops the program
            self.history.expect_sleep(order.reason)
        if snapshot.state is not LifecycleState.RELEASING or self._release is None or self._falls_asleep(now):
            return INTERVAL_SECONDS
        is_over = self._release.is_over(self.facts.knows_draining, facts.in_flight, now)
        if is_over and self._extension.put_to_sleep(self._program):
            self._put_to_sleep(snapshot)
        is_short = now - self._release.began < SHORT_DRAIN_SECONDS
        return STEP_INTERVAL_SECONDS if is_short else INTERVAL_SECONDS

    def _put_to_sleep(self, snapshot: InstanceSnapshot) -> None:
        self._sleep_began = self._clock()
        if self.engine is None:
            self._effects.poll_process()  # the extension has stopped the program
        else:
            self.engine.begin(SLEEP, lambda problem: self._slept(problem, snapshot.process_stage))

    def _slept(self, problem: str, process_stage: int) -> None:
        """Record that the engine sleeps. If it cannot, stop its program, because others wait for its memory."""
        if not problem:
            self.monitor.apply(LifecycleEvent.SLEEPS, process_stage)
        elif self.monitor.snapshot.process_stage == process_stage:
            self._stop(f"its engine does not sleep: {problem}")

    def _wake_engine(self, snapshot: InstanceSnapshot) -> None:
        is_asleep = snapshot.state is LifecycleState.ASLEEP and snapshot.has_process
        if self.engine is None or not is_asleep or self.engine.busy:
            return
        # The event is applied while the engine is busy, so that no check finds it asleep although it is being woken.
        self.engine.begin(
            WAKE,
            lambda problem: self._woke(problem, snapshot.process_stage + 1),
            lambda: self.monitor.apply(LifecycleEvent.WAKES, snapshot.process_stage),
        )

    def _woke(self, problem: str, process_stage: int) -> None:
        """Check the engine that was woken. If it did not wake, stop its program, so that the next demand starts it."""
        if problem and self.monitor.snapshot.process_stage == process_stage:
            self._stop(f"its engine does not wake up: {problem}")
        self._effects.poll_process()

    def _serve_again(self, snapshot: InstanceSnapshot) -> None:
        """End the drain of an instance that need not give way any more, unless it is already falling asleep."""
        if snapshot.state is LifecycleState.RELEASING and not self._falls_asleep(self._clock()):
            self.monitor.apply(LifecycleEvent.KEPT, snapshot.process_stage)
            self._release = None
        elif snapshot.state is not LifecycleState.RELEASING:
            self._release = None

    def _falls_asleep(self, now: float) -> bool:
        """Return whether the program is about to stop, or the engine to sleep, so that it cannot serve any more."""
        is_busy = self.engine is not None and bool(self.engine.busy)
        return is_busy or now - self._sleep_began < ORDER_TIMEOUT_SECONDS

    def _stop(self, reason: str) -> None:
        log.warning("%s: %s; its program is stopped", self.config.name, reason)
        self.history.expect_sleep(reason)
        self._sleep_began = self._clock()
        try:
            self._effects.stop_program()
        except SvcError as error:
            log.warning("%s: cannot stop it: %s", self.config.name, error.message)

    def _without_order(self, problem: str, snapshot: InstanceSnapshot) -> float:
        if problem != self.problem:
            log.warning("%s: no orders from supervisord, so it neither wakes nor sleeps: %s", self.config.name, problem)
        self.problem = problem
        if self._clock() - self._ordered_at > ORDER_TIMEOUT_SECONDS:
            self._serve_again(snapshot)
        return INTERVAL_SECONDS
