"""Collects the facts about an instance on demand on which supervisord's extension bases its decisions."""

from collections.abc import Callable

from svc.babysitter.lifecycle import LifecycleState
from svc.babysitter.monitor import InstanceSnapshot
from svc.babysitter.on_demand.activity import Activity
from svc.babysitter.on_demand.demands import Demands, WakeRequest
from svc.babysitter.on_demand.host_memory import HostMemory
from svc.babysitter.on_demand.sleep_history import SleepHistory
from svc.config.instance.model import InstanceConfig
from svc.supervision.on_demand.instance_facts import Demand, InstanceFacts

# How old the metrics may be from which the requests in flight are read. The limit is lower for a busy instance, because
# another one may wait until it is idle.
MAX_BUSY_LOAD_AGE_SECONDS = 0.4
MAX_IDLE_LOAD_AGE_SECONDS = 2.0
SERVING_STATES = (LifecycleState.RUNNING, LifecycleState.RELEASING, LifecycleState.HUNG)
BY_OPERATOR = "put to sleep by an operator"


class FactCollector:
    """Records what routers and operators want of the instance, and collects the facts about it.

    `is_draining_known` returns whether the registry knows that the instance is draining.
    """

    def __init__(
        self,
        config: InstanceConfig,
        activity: Activity,
        history: SleepHistory,
        memory: HostMemory,
        is_draining_known: Callable[[], bool],
        clock: Callable[[], float],
    ) -> None:
        self.config = config
        self.activity = activity
        self.history = history
        self.demands = Demands(clock)
        self.sleep_wish = ""  # why the instance is to be put to sleep even if it need not make room; "": it is not
        self.knows_draining = False  # whether the registry knew of the drain when the requests were last read
        self.idle_seconds = 0.0  # at the last collection; 0 unless the instance runs
        self._memory = memory
        self._is_draining_known = is_draining_known
        self._process_stage: int | None = None

    def wake(self, request: WakeRequest) -> None:
        """Record a demand. A demand to stay awake ends the wish to put the instance to sleep."""
        if request.waiting is None and request.hold is None:  # sent by hand: stay awake for some time after the wake
            request = WakeRequest(hold=self.config.wake_timeout, by=request.by)
        if request.hold:
            self.sleep_wish = ""
        self.demands.renew(request)

    def sleep(self) -> None:
        """Record an operator's wish to put the instance to sleep."""
        self.demands.clear()
        self.sleep_wish = BY_OPERATOR

    def collect(self, snapshot: InstanceSnapshot) -> InstanceFacts:
        """Read the number of requests from the engine; return the facts about the instance in the snapshot's state."""
        if snapshot.process_stage != self._process_stage:
            self._process_stage = snapshot.process_stage
            self.activity.restart()
        state, demand = snapshot.state, self.demands.current()
        self.knows_draining = state is LifecycleState.RELEASING and self._is_draining_known()
        # The requests of an engine that is not ready are unknown: it may hang, with requests that it got before this
        # babysitter started.
        in_flight: int | None = None if state is LifecycleState.STARTING else 0
        if state in SERVING_STATES and self.config.on_demand:
            max_age = MAX_BUSY_LOAD_AGE_SECONDS if self.activity.in_flight else MAX_IDLE_LOAD_AGE_SECONDS
            in_flight = self.activity.read(0.0 if state is LifecycleState.RELEASING else max_age)
        self.idle_seconds = idle_seconds = self.activity.idle_seconds if state is LifecycleState.RUNNING else 0.0
        self._note_wishes(state, demand, in_flight, idle_seconds)
        return InstanceFacts(
            state.status,  # type: ignore[arg-type]  # the states that the registry knows are all in the literal
            in_flight,
            idle_seconds,
            self.history.load_seconds,
            demand,
            has_tool=self._memory.has_tool(),
            sleep=bool(self.sleep_wish),
        )

    def _note_wishes(
        self, state: LifecycleState, demand: Demand | None, in_flight: int | None, idle_seconds: float
    ) -> None:
        if state is LifecycleState.ASLEEP:
            self.history.expect_wake(describe_demand(demand))
        if state not in (*SERVING_STATES, LifecycleState.STARTING):
            self.sleep_wish = ""
        elif self.sleep_wish != BY_OPERATOR:
            limit = self.config.idle_after if self.config.on_demand and not self.config.keep else 0
            if not limit or demand is not None or in_flight != 0:
                self.sleep_wish = ""
            elif state is LifecycleState.RUNNING:
                self.sleep_wish = f"idle for {idle_seconds:.0f} s" if idle_seconds >= limit else ""


def describe_demand(demand: Demand | None) -> str:
    """Return a text on why the instance is wanted; "" without a demand."""
    if demand is None:
        return ""
    if not demand.waiting:
        return "wanted to be awake"
    requests = "1 request" if demand.waiting == 1 else f"{demand.waiting} requests"
    return f"{requests} waited, the oldest {demand.oldest:.1f} s before the load"
