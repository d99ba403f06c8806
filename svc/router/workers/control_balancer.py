"""The balancer of the control process: it relays nothing, and decides on the table and on the instances' health."""

import itertools
import time
from collections.abc import Callable, Iterable

from svc.router.balance.balancer import Balancer
from svc.router.balance.health_tracker import HealthTracker
from svc.router.balance.request_queue import RequestQueue
from svc.router.balance.target import Target
from svc.router.balance.wakes import WakeStates
from svc.router.telemetry.statistics import Statistics
from svc.router.workers import shared_queue
from svc.router.workers.departed_rows import DepartedRows
from svc.router.workers.messages import Evidence, Observation
from svc.router.workers.shared_counts import TOTAL, SharedCounts
from svc.router.workers.shared_loads import SharedLoads, suspicions
from svc.settings import RouterSettings


class ControlBalancer(Balancer):
    """The balancer whose decisions the processes that relay carry out. `on_change` is called after each change."""

    def __init__(
        self,
        settings: RouterSettings,
        clock: Callable[[], float],
        health: HealthTracker,
        statistics: Statistics,
        counts: SharedCounts,
        on_change: Callable[[], object],
    ) -> None:
        self._counts = counts
        self._in_flight = counts.row("in flight")
        self._on_change = on_change
        # Claims contain the number of a trial, and outlive a control process: the next one must use other numbers.
        self._numbers = itertools.count(time.time_ns())
        self._trials: dict[str, int] = {}
        self._departed_rows = DepartedRows(counts)
        self._suspicions = suspicions(counts)
        super().__init__(settings, clock, health, statistics)
        self.queue = QueueLengths(settings.queue_size, counts, lambda: self.table.models)
        self.loads = self._shared_loads = SharedLoads(counts)

    @property
    def in_flight(self) -> int:
        return sum(self._in_flight)

    @in_flight.setter
    def in_flight(self, count: int) -> None:
        """Ignore the value: the base class counts the requests of this process only."""

    def trials(self) -> dict[str, int]:
        """Return a dict from each instance whose trial is due to the number of this trial."""
        due = [name for name, health in self.health.by_instance.items() if health.trial_due]
        self._trials = {name: self._trials.get(name) or next(self._numbers) for name in due}
        return self._trials

    def observe(self, observation: Observation) -> None:
        """Record what an attempt of another process has shown about its instance."""
        name, health, targets = observation.instance, self.health, self.table.targets
        target = next((target for target in targets if target.name == name), None)
        if target is None:
            return
        with self._lock:
            before = health.by_instance.get(name)
            if observation.evidence is Evidence.FAILURE:
                changed = health.record_failure(name, observation.reason, targets)
            elif observation.evidence is Evidence.SERVER_ERROR:
                changed = health.record_server_error(target, self.table)
            elif observation.evidence is Evidence.TRIAL_BEGUN:
                self._trials.pop(name, None)
                changed = before is not None and before.trial_due and health.begin_trial(name, targets)
            elif before is None:
                changed = False
            elif observation.evidence is Evidence.NOTHING:
                changed = health.record_inconclusive(name, targets)
            else:
                decides = observation.evidence is Evidence.SUCCESS or before.in_trial
                changed = decides and health.record_success(name, targets)
            after = health.by_instance.get(name)
            self._suspicions[name][0] = after is not None and bool(after.failures or after.ejected_until)
            self._rebuild_if(changed)
        self._on_change()

    def abandon(self, trials: set[str]) -> None:
        """Make the trials of these instances due again: they were in flight at a process that has ended.

        That process may also have claimed a trial that it had not begun. Its claim ends, because each trial that is due
        gets a new number.
        """
        self._trials.clear()
        for name in trials:
            self.observe(Observation(Evidence.NOTHING, name))
        self._on_change()

    def replace(self, targets: Iterable[Target]) -> None:
        before = self.table.targets
        super().replace(targets)
        if self.table.targets != before:
            self._counts.forget_names()
            self._shared_loads.rows.clear()
            self._suspicions.clear()
            self._departed_rows.replace_table(self.table.targets, self.clock())
        self._on_change()

    def use_wake_states(self, states: WakeStates) -> None:
        if states != self.wakes.states:
            super().use_wake_states(states)
            self._on_change()

    def expire(self, now: float) -> None:
        super().expire(now)
        self._departed_rows.sweep(now)


class QueueLengths(RequestQueue):
    """The request queues of all processes, as numbers. No request waits in the control process."""

    def __init__(self, size: int, counts: SharedCounts, models: Callable[[], frozenset[str]]) -> None:
        super().__init__(size)
        self._counts = counts
        self._models = models

    @property
    def waiting(self) -> int:
        return self._counts.queue[TOTAL]

    @waiting.setter
    def waiting(self, count: int) -> None:
        """Ignore the value: the base class counts the requests of this process only."""

    def wake_all(self) -> None:
        """Do nothing: each process that relays wakes its own waiters when it gets the new table."""

    def expire(self, now: float) -> None:
        """Do nothing: each process that relays ends its own waits."""

    def oldest(self) -> dict[str | None, float]:
        return shared_queue.oldest(self._counts, self._models())

    def lengths(self) -> dict[str | None, int]:
        return shared_queue.lengths(self._counts, self._models())
