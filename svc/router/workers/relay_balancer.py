"""The balancer of a process that relays. It decides with the counts of all processes, and reports what it observes.

A request claims its place when its instance is chosen, by adding one to the count of its process. It does so under the
lock if the instance is near its limit, if requests wait, or if it would be the trial of an ejected instance. What an
attempt proves about its instance is reported; the control process decides on ejection, and its snapshot brings the new
table.
"""

import sys
from collections.abc import Callable, Iterator, Mapping

from svc.router.balance.balancer import MIN_CONCURRENT_RETRIES, Balancer
from svc.router.balance.fair_order import Charge, precedes
from svc.router.balance.health_tracker import HealthTracker
from svc.router.balance.request_queue import LAST, Waiter
from svc.router.balance.routing_request import RoutingRequest
from svc.router.balance.routing_table import build, forget_lost_caches
from svc.router.balance.target import Target
from svc.router.telemetry.statistics import Statistics
from svc.router.workers.messages import Evidence, Observation, PublishedTable, Snapshot, decode
from svc.router.workers.shared_counts import CONTROL_SLOT, TOTAL, SharedCounts, count_below
from svc.router.workers.shared_loads import SharedLoads, SharedTurns, SharedWork, suspicions
from svc.router.workers.shared_prefixes import SharedPrefixes
from svc.router.workers.shared_queue import SharedQueue
from svc.settings import RouterSettings


class RelayBalancer(Balancer):
    """The balancer of one process. `report` sends an observation to the control process."""

    loads: SharedLoads
    work: SharedWork
    queue: SharedQueue
    prefixes: SharedPrefixes

    def __init__(
        self,
        settings: RouterSettings,
        clock: Callable[[], float],
        health: HealthTracker,
        statistics: Statistics,
        counts: SharedCounts,
        report: Callable[[Observation], object],
    ) -> None:
        self._counts = counts
        self._slot = counts.slot
        self._in_flight = counts.row("in flight")
        self._retrying = counts.row("retrying")
        self._report = report
        self._table_number = 0
        self._ticket = LAST  # the ticket of the waiter for which `pick` is called
        self._charge: Charge | None = None  # the charge of the request for which `pick` is called
        self._claimed: Target | None = None  # the instance at which the next attempt has its place
        self._claimed_trial = 0  # the number of the trial that this attempt would be; 0: no trial
        self._claimed_retry = False
        self._trials: Mapping[str, int] = {}  # instance whose trial is due -> number of the trial
        super().__init__(settings, clock, health, statistics)
        self.queue = SharedQueue(settings.queue_size, counts, self._free_places)
        self.loads = SharedLoads(counts)
        self._rows, self._suspicions = self.loads.rows, suspicions(counts)
        self._turns = SharedTurns(counts)
        self.prefixes = SharedPrefixes(settings.prefix_map_bytes, counts.prefix_rings, counts.slot, self._names)
        self.work = SharedWork(counts, self.work.is_tracked)
        self._first_attempt = self.context(())
        self.wakes.on_wait = lambda: counts.wake([CONTROL_SLOT])  # the control process sends demands to babysitters

    def adopt(self, snapshot: Snapshot) -> None:
        """Use the table, the trials and the loads that the control process has decided on."""
        self._trials = snapshot.trials
        if snapshot.view != self.work.view:
            self.work.use_view(snapshot.view)
        if snapshot.table_number != self._table_number:
            self._table_number = snapshot.table_number
            self._adopt_table(decode(snapshot.table, PublishedTable))
        self.wakes.states = snapshot.wakes
        self.queue.wake_own()

    def _adopt_table(self, published: PublishedTable) -> None:
        before = self.table
        if published.targets != self.table.targets:
            self._counts.forget_names()
            self._rows.clear()
            self._suspicions.clear()
            self._turns.clear()
            forget_lost_caches(self.prefixes, self.table.targets, published.targets)
            self.work.tokens.rows.clear()
        self.table = build(published.targets, lambda target: target.name in published.usable)
        self.prefixes.forget_names()
        self.queue.models, self.queue.groups = self.table.models, self.table.groups
        self._note_changes(before)

    def _names(self) -> Iterator[str]:
        return (target.name for target in self.table.targets)

    # Choosing an instance.

    def pick(self, request: RoutingRequest, excluded: tuple[str, ...] = ()) -> Target | None:
        self._withdraw_claim()
        self._charge = request.charge
        while (target := super().pick(request, excluded)) is not None and not self._claim(target):
            pool = self.table.pool(request.model)
            members = pool.members if pool is not None else ()
            full = (member.name for member in members if self.is_full(member.target))
            excluded = (*excluded, target.name, *full)
        self.prefixes.settle(target is not None)
        return target

    def _choose_in_turn(
        self, request: RoutingRequest, waiter: Waiter, choose: Callable[[], Target | None]
    ) -> Target | None:
        """Return what `choose` returns. The request leaves the queue in the moment in which it claims its place.

        So the sum of the requests that wait and of those in flight never shows one request twice.
        """
        self._ticket = waiter.number
        try:
            with self._counts.lock:
                return super()._choose_in_turn(request, waiter, choose)
        finally:
            self._ticket = LAST

    def _free_places(self, model: str | None) -> int:
        pool = self.table.pool(model)
        limits = ((m.name, self.work.view.limit(m.target)) for m in (pool.members if pool is not None else ()))
        return sum(max(0, limit - self.loads.get(name)) if limit else sys.maxsize for name, limit in limits)

    def _is_anothers_turn(self, target: Target) -> bool:
        """Return whether a request that has its turn before this one can have the place at the instance."""
        queue, charge = self.queue, self._charge
        if not queue.waiting:
            return False
        rank = queue.order.rank(charge, self._ticket)
        group = "" if charge is None else charge.key[0]
        for model in (*target.models, None):
            first = queue.first_rank(model)
            if first is not None and precedes(queue.group(model), first, group, rank):
                pool = self.table.pool(model)
                if pool is not None and any(member.target is target for member in pool.members):
                    return True
        return False

    def _claim(self, target: Target) -> bool:
        """Claim a place at an instance for the next attempt; return whether there is one."""
        row, trial, limit = self._rows[target.name], self._trials.get(target.name), self.work.view.limit(target)
        if trial is None and not limit:
            row[self._slot] += 1
        elif trial is not None or self._counts.queue[TOTAL] or not count_below(row, self._slot, limit):
            claims = self._trial_claims(target.name)
            with self._counts.lock:
                if limit and (sum(row) >= limit or self._is_anothers_turn(target)):
                    return False
                if trial is not None and claims[0] == trial:
                    return False
                row[self._slot] += 1
                if trial is not None:
                    claims[0] = trial
            self._claimed_trial = trial or 0
        self._claimed = target
        return True

    def _trial_claims(self, name: str) -> memoryview:
        return self._counts.common(f"trial {name}")

    def _withdraw_claim(self) -> None:
        """Free a place that no attempt has taken, because its request ended between the choice and the attempt."""
        if self._claimed is not None:
            self._rows[self._claimed.name][self._slot] -= 1
            self._withdraw_trial(self._claimed)
            self._claimed = None

    def _withdraw_trial(self, target: Target) -> None:
        if self._claimed_trial:
            number, self._claimed_trial = self._claimed_trial, 0
            claims = self._trial_claims(target.name)
            with self._counts.lock:
                if claims[0] == number:  # if not equal, another process has claimed a later trial
                    claims[0] = 0

    def claim_place(self, target: Target) -> bool:
        self._withdraw_claim()
        return not self.work.view.limit(target) or self._claim(target)

    def may_retry(self) -> bool:
        """Return whether the retry budget allows one more attempt; if so, claim it for the next attempt."""
        self._withdraw_retry()
        with self._counts.lock:
            limit = max(MIN_CONCURRENT_RETRIES, self._settings.retry_budget * sum(self._in_flight))
            self._claimed_retry = sum(self._retrying) < limit
            self._retrying[self._slot] += self._claimed_retry
        return self._claimed_retry

    def pick_other(self, request: RoutingRequest, failed: tuple[Target, ...]) -> Target | None:
        target = super().pick_other(request, failed)
        if target is None:
            self._withdraw_retry()
        return target

    def _withdraw_retry(self) -> None:
        self._retrying[self._slot] -= self._claimed_retry
        self._claimed_retry = False

    # Attempts.

    def begin_attempt(
        self, target: Target, repeated: bool = False, counts_for_budget: bool = False, is_inference: bool = True
    ) -> None:
        slot = self._slot
        if self._claimed is not target:
            self._withdraw_claim()
            self._rows[target.name][slot] += 1
        self._claimed = None
        self._in_flight[slot] += 1
        if repeated:
            self.retries += 1
            if counts_for_budget and not self._claimed_retry:
                self._retrying[slot] += 1
            elif not counts_for_budget:
                self._withdraw_retry()
            self._claimed_retry = False
        if self._claimed_trial:
            if is_inference:
                self._claimed_trial = 0
                self._report(Observation(Evidence.TRIAL_BEGUN, target.name))
            else:
                self._withdraw_trial(target)

    def record_response_begun(self, target: Target | None) -> None:
        if target is not None and self._suspicions[target.name][0]:  # the attempt may be a trial
            self._report(Observation(Evidence.RESPONSE_BEGUN, target.name))

    def end_attempt(
        self,
        target: Target,
        seconds: float,
        failed: bool,
        ejection_reason: str | None = "",
        counts_for_budget: bool = False,
        answered: bool = False,
        is_inference: bool = True,
        answered_500: bool = False,
    ) -> None:
        name, slot = target.name, self._slot
        self._rows[name][slot] -= 1
        self._in_flight[slot] -= 1
        if counts_for_budget:
            self._retrying[slot] -= 1
        self.statistics.instances[name].record_attempt(seconds, failed, answered)
        if ejection_reason:
            self._suspicions[name][0] = 1
            self._report(Observation(Evidence.FAILURE, name, ejection_reason))
        elif failed and answered_500:
            self._report(Observation(Evidence.SERVER_ERROR, name))
        elif is_inference and self._suspicions[name][0]:
            evidence = Evidence.NOTHING if ejection_reason is None else Evidence.SUCCESS
            self._report(Observation(evidence, name))
        if self._counts.queue[TOTAL]:
            self.queue.wake((*target.models, None))

    def expire(self, now: float) -> None:
        """End the waits whose time is over. Only the control process marks trials of ejected instances as due."""
        self.queue.sweep(now)
