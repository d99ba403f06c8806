"""The load balancer: it chooses an instance for each request, queues requests, and counts the load of each instance."""

import itertools
import random
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

from svc.base.errors import Unavailable
from svc.router.balance import model_aliases
from svc.router.balance.health_tracker import HealthTracker
from svc.router.balance.policies import POLICIES, PickContext, uses_policy
from svc.router.balance.pool import CACHE_KEY_SEPARATOR, reserved
from svc.router.balance.prefix_map import PrefixMap
from svc.router.balance.request_queue import OnWait, RequestQueue, Waiter
from svc.router.balance.routing_request import RoutingRequest
from svc.router.balance.routing_table import RoutingTable, build, forget_lost_caches
from svc.router.balance.target import Target
from svc.router.balance.unserved import DepartedModels, unserved_error
from svc.router.balance.wakes import Wakes, WakeStates
from svc.router.balance.work import EngineView, Work
from svc.router.telemetry.statistics import Statistics
from svc.settings import RouterSettings

MIN_CONCURRENT_RETRIES = 3  # always allowed by the retry budget: a percentage of a small load would be zero


class Balancer:
    """The load balancer. `pick` decides at once; `wait` keeps a request in the request queue until it has its turn.

    The routing table is an immutable snapshot: one writer at a time replaces it, under a lock that readers do not take.
    """

    def __init__(
        self, settings: RouterSettings, clock: Callable[[], float], health: HealthTracker, statistics: Statistics
    ) -> None:
        self.table = RoutingTable()
        self.health = health
        self.statistics = statistics
        self.queue = RequestQueue(settings.queue_size)
        self.queue_timeout = settings.queue_timeout
        self.loads: dict[str, int] = {}  # instance -> requests in flight
        self.full: set[str] = set()  # names of the instances with as many requests in flight as they may have
        self.in_flight = 0
        self.retrying = 0  # attempts in flight that count for the retry budget
        self.retries = 0  # number of attempts since the start, without the first attempt of each request
        # Set by a request for a model that no instance lists; reset when the models of static services are read again.
        self.unlisted_model_requested = False
        self.aliases, self.fallbacks = dict(settings.aliases), dict(settings.fallbacks)
        self._settings = settings
        self.clock = clock
        self._choose_by_model = {model: POLICIES[policy] for model, policy in settings.policies}
        self._choose = POLICIES[settings.policy]
        self.prefixes = PrefixMap(settings.prefix_map_bytes)
        self._turns: defaultdict[str, Iterator[int]] = defaultdict(itertools.count)
        self.work = Work(uses_policy(settings, "least_load"))
        self._first_attempt = self.context(())  # for all first attempts: no instance is excluded; counts are read live
        self._departed = DepartedModels()
        self.wakes = Wakes(clock)
        self._lock = threading.RLock()  # held while the table is replaced

    # Choosing an instance.

    def resolve_model(self, model: str | None) -> str | None:
        """Return the model to route to, after aliases and fallbacks (see `model_aliases.resolve`)."""
        if not self.aliases and not self.fallbacks:
            return model
        return model_aliases.resolve(model, self.aliases, self.fallbacks, self.table.can_serve)

    def context(self, excluded: tuple[str, ...]) -> PickContext:
        settings, prefixes = self._settings, self.prefixes
        arguments = (self.loads, self._turns, random.random, settings.cache_type_threshold, excluded, prefixes)
        return PickContext(*arguments, self.work, settings.auto_prefix)

    def pick(self, request: RoutingRequest, excluded: tuple[str, ...] = ()) -> Target | None:
        """Return the instance for a request; None if it has to wait for a busy, returning or sleeping instance.

        Raise Unavailable if there is nothing to wait for: no candidate, and no instance that returns or can be woken.
        """
        pool = self.table.pool(request.model)
        if pool is None or not pool.members:
            if self.wakes.may_wait(request.model, self.table):
                return None
            self.unlisted_model_requested |= request.model is not None and request.model not in self.table.models
            raise self.unserved_error(request.model)
        if self.full:
            excluded = (*excluded, *[member.name for member in pool.members if member.name in self.full])
        if request.charge is not None and request.charge.is_background:
            excluded = (*excluded, *reserved(pool, self.loads, self.work.view.limit))
        by_model, choose = self._choose_by_model, self._choose
        if by_model and request.model:
            choose = by_model.get(request.model, choose)
        member = choose(pool, request, self.context(excluded) if excluded else self._first_attempt)
        return member.target if member else None

    def pick_other(self, request: RoutingRequest, failed: tuple[Target, ...]) -> Target | None:
        """Return a free instance for a retry, or None. A failed instance is excluded until its table entry changes."""
        try:
            return self.pick(request, self.table.unchanged_names(failed))
        except Unavailable:
            return None

    def unserved_error(self, model: str | None) -> Unavailable:
        return unserved_error(model, self.table, self._departed, self.clock(), self.wakes)

    def wait(
        self,
        request: RoutingRequest,
        on_wait: OnWait,
        seconds: float,
        choose: Callable[[], Target | None],
        ordered: bool = True,
        may_wake: bool = True,
    ) -> Target | None:
        """Wait until this request is the first in its queue and `choose` returns an instance; return that instance.

        Return None after `seconds`; with `may_wake`, a wake may extend the wait (see `Wakes.extend`). A request that is
        not `ordered` neither waits behind others nor delays them.
        """
        queue = self.queue
        if (charge := queue.charge(request, self.clock)) is not None:
            charge.expected = self.work.expected_tokens(request)
        since = self.clock()
        waiter = queue.join(request.model, since + seconds, self.statistics.retry_after(), ordered, charge)
        waiter.since = since
        try:
            if may_wake:
                self.wakes.begin(request.model, self.table, waiter, seconds)
            while not waiter.expired or (may_wake and self.wakes.extend(request.model, self.table, waiter, seconds)):
                on_wait(waiter)
                waiter.wait()
                on_wait(waiter)
                if queue.is_first(request.model, waiter) and (target := self._choose_in_turn(request, waiter, choose)):
                    return target
        finally:
            queue.leave(request.model, waiter)
        return None

    def _choose_in_turn(
        self, request: RoutingRequest, waiter: Waiter, choose: Callable[[], Target | None]
    ) -> Target | None:
        """Return what `choose` returns. If that is an instance, the request leaves the queue."""
        if (target := choose()) is not None:
            self.queue.serve(request.model, waiter)
        return target

    def claim_place(self, target: Target) -> bool:
        """Return whether an instance has a place for the next attempt. With several processes, also claim the place."""
        return target.name not in self.full

    def may_retry(self) -> bool:
        """Return whether the retry budget allows one more attempt that counts for it."""
        return self.retrying < max(MIN_CONCURRENT_RETRIES, self._settings.retry_budget * self.in_flight)

    # Attempts.

    def begin_attempt(
        self, target: Target, repeated: bool = False, counts_for_budget: bool = False, is_inference: bool = True
    ) -> None:
        """Count an attempt that starts; `end_attempt` counts its end.

        `repeated`: it is not the first attempt of the request; `counts_for_budget`: it counts for the retry budget;
        `is_inference`: the request is for inference, so that it may be the trial of an ejected instance.
        """
        load = self.loads[target.name] = self.loads.get(target.name, 0) + 1
        limit = target.limit or (target.has_adaptive_limit and self.work.view.limit(target))
        if limit and load >= limit:
            self.full.add(target.name)
        self.in_flight += 1
        if repeated:
            self.retries += 1
            self.retrying += counts_for_budget
        if is_inference and (health := self.health.by_instance.get(target.name)) and health.trial_due:
            with self._lock:
                self._rebuild_if(self.health.begin_trial(target.name, self.table.targets))

    def record_response_begun(self, target: Target | None) -> None:
        """Record that an instance has begun a good response, which is enough for a trial to succeed."""
        if target is not None and (health := self.health.by_instance.get(target.name)) and health.in_trial:
            with self._lock:
                self._rebuild_if(self.health.record_success(target.name, self.table.targets))

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
        """Count the end of an attempt. Call this exactly once for each attempt.

        `ejection_reason`: the failure for which the instance may be ejected; empty if the attempt proves that the
        instance works; None if it proves nothing. `answered`: a POST got a whole response with status 2xx.
        `is_inference`: the request was for inference, so that its success proves that the instance works.
        `answered_500`: the answer was a 500. A request can also cause a 500 by itself, but then it does so at all
        instances of the model.
        """
        name = target.name
        self.loads[name] -= 1
        if name in self.full:
            self._release_full(name)
        self.in_flight -= 1
        self.retrying -= counts_for_budget
        self.statistics.instances[name].record_attempt(seconds, failed, answered)
        if ejection_reason:
            with self._lock:
                self._rebuild_if(self.health.record_failure(name, ejection_reason, self.table.targets))
        elif failed and answered_500:
            with self._lock:
                self._rebuild_if(self.health.record_server_error(target, self.table))
        elif (
            is_inference and (health := self.health.by_instance.get(name)) and (health.failures or health.ejected_until)
        ):
            record = self.health.record_inconclusive if ejection_reason is None else self.health.record_success
            with self._lock:
                self._rebuild_if(record(name, self.table.targets))
        if self.queue.waiting:
            self.queue.wake((*target.models, None))

    def _release_full(self, name: str) -> None:
        target = next((target for target in self.table.targets if target.name == name), None)
        if target is None or not self.is_full(target):
            self.full.discard(name)

    def is_full(self, target: Target) -> bool:
        """Return whether an instance has as many requests in flight as it may have."""
        limit = self.work.view.limit(target)
        return bool(limit) and self.loads.get(target.name, 0) >= limit

    def _find_full(self) -> None:
        self.full = {target.name for target in self.table.targets if self.is_full(target)}

    def use_view(self, view: EngineView) -> None:
        """Use new loads of engines, and the limits that follow from them, from now on."""
        limits = self.work.view.limits
        self.work.use_view(view)
        if view.limits != limits:
            self._find_full()
            self.queue.wake_all()

    # The table.

    def record_check(self, name: str, passed: bool, first_decides: bool = False) -> None:
        """Record the result of one of the router's own health checks of an instance.

        `first_decides`: if this is the instance's first check, it decides alone, even if it failed.
        """
        with self._lock:
            self._rebuild_if(self.health.record_check(name, passed, first_decides, self.table.targets))

    def expire(self, now: float) -> None:
        """End the waits whose time is over, and make trials of ejected instances due. Call it ten times a second."""
        self.queue.sweep(now)
        if names := self.health.lapsed_ejections(now):
            with self._lock:
                self._rebuild_if(self.health.make_trials_due(names, now, self.table.targets))

    def use_wake_states(self, states: WakeStates) -> None:
        """Replace the states of the models that are asleep, and end the waits for those that cannot be woken."""
        changed = [model for model, state in states.items() if state != self.wakes.states.get(model)]
        self.wakes.states = states
        if self.queue.waiting:
            self.queue.wake(changed)

    def _rebuild_if(self, changed: bool) -> None:
        if changed:
            self.replace(self.table.targets)

    def replace(self, targets: Iterable[Target]) -> None:
        """Replace the table. Reset the health of each instance that is new, was restarted or has moved."""
        with self._lock:
            targets = tuple(targets)
            self.health.forget_restarted(self.table.targets, targets)
            forget_lost_caches(self.prefixes, self.table.targets, targets)
            before, self.table = self.table, build(targets, self.health.is_usable)
            self.queue.groups = self.table.groups
            self._note_changes(before)
            self._find_full()
            self._forget_absent({target.name for target in targets})
        if self.queue.waiting:
            self.queue.wake_all()

    def _note_changes(self, before: RoutingTable) -> None:
        """Note which models have left the table, and which have woken."""
        self._departed.replace_table(before.models, self.table.models, self.clock())
        self.wakes.replace_table(before, self.table)

    def _forget_absent(self, names: set[str]) -> None:
        """Drop the counts of absent instances without requests in flight, and the turns of models without instances."""
        by_instance = (self.loads, self.statistics.instances, self.health.by_instance, self.health.server_errors)
        for name in set().union(*by_instance) - names:
            if not self.loads.get(name):
                for counts in by_instance:
                    counts.pop(name, None)
        for key in [k for k in self._turns if k.partition(CACHE_KEY_SEPARATOR)[0] not in ("", *self.table.by_model)]:
            del self._turns[key]
