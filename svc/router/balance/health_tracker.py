"""The health of all instances, from the results of requests and health checks. Changes are logged and reported."""

import logging
import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import msgspec

from svc.router.balance import ejection
from svc.router.balance.ejection import InstanceHealth
from svc.router.balance.routing_table import RoutingTable
from svc.router.balance.server_errors import LAST_ANSWERS, ServerErrors
from svc.router.balance.target import Target
from svc.settings import RouterSettings

if TYPE_CHECKING:
    from svc.router.telemetry.event_reporter import EventReporter
    from svc.router.telemetry.statistics import Statistics

log = logging.getLogger(__name__)
UNKNOWN_HEALTH = InstanceHealth()


class HealthTracker:
    """The health of each instance that was checked or has failed.

    Each method that changes a health returns whether the table has to be rebuilt. The caller of such a method holds the
    table's lock.
    """

    def __init__(
        self,
        settings: RouterSettings,
        clock: Callable[[], float],
        statistics: "Statistics",
        events: "EventReporter",
    ) -> None:
        self.by_instance: dict[str, InstanceHealth] = {}
        # Name of an instance -> its answers with status 500.
        self.server_errors: defaultdict[str, ServerErrors] = defaultdict(ServerErrors)
        self._ejects_failing = settings.failing_instances == "eject"
        self._max_errors = settings.max_errors
        self._max_ejected = settings.max_ejected
        self._clock = clock
        self._statistics = statistics
        self._events = events

    def is_usable(self, target: Target) -> bool:
        """Return whether an instance is healthy and not ejected. The router's own checks outweigh the registry's."""
        health = self.by_instance.get(target.name)
        if health is None:
            return target.healthy is not False
        return health.is_usable() and (target.healthy is not False if health.healthy is None else health.healthy)

    def is_ejected(self, name: str) -> bool:
        return not self.by_instance.get(name, UNKNOWN_HEALTH).is_usable()

    def is_failing(self, target: Target, table: RoutingTable) -> bool:
        """Return whether most of an instance's last answers are 500, while another instance of one of its models works.

        If all instances of a model answer 500, the requests are to blame.
        """
        errors = self.server_errors.get(target.name)
        if errors is None or not errors.are_majority(self._attempts(target.name)):
            return False
        pools = [pool for model in target.models if (pool := table.pool(model)) is not None]
        peers = (member.name for pool in pools for member in pool.members if member.name != target.name)
        return any(name in table.candidates and self._rarely_answers_500(name) for name in peers)

    def _rarely_answers_500(self, name: str) -> bool:
        errors = self.server_errors.get(name)
        return errors is None or errors.are_rare(self._attempts(name))

    def _attempts(self, name: str) -> int:
        """Return how many attempts at the instance have ended; this is also the number of the last one."""
        return self._statistics.instances[name].requests

    def forget_restarted(self, before: Iterable[Target], after: Iterable[Target]) -> None:
        """Forget the health of each instance that is new in `after`, or has restarted or moved since `before`."""
        previous = {target.name: target for target in before}
        for target in after:
            known = previous.get(target.name)
            if known is None or target.is_restart_of(known):
                self.by_instance.pop(target.name, None)
                self.server_errors.pop(target.name, None)

    def record_check(self, name: str, passed: bool, first_decides: bool, targets: Iterable[Target]) -> bool:
        """Record the result of a health check. `first_decides`: the first check decides alone, even if it failed."""
        before = self.by_instance.get(name, UNKNOWN_HEALTH)
        first = first_decides and before.healthy is None
        after = ejection.after_check(before, passed, 1 if first else self._max_errors)
        return self._change(name, before, msgspec.structs.replace(after, checked_at=self._clock()), targets)

    def seconds_since_check(self, name: str) -> float | None:
        """Return the seconds since the last health check of an instance; None before the first."""
        checked_at = self.by_instance.get(name, UNKNOWN_HEALTH).checked_at
        return self._clock() - checked_at if checked_at else None

    def record_failure(self, name: str, reason: str, targets: Iterable[Target]) -> bool:
        """Record a failed request. `reason`: how the instance failed."""
        may_eject = self._may_eject(targets)
        before = self.by_instance.get(name, UNKNOWN_HEALTH)
        after = ejection.after_failure(before, self._clock(), random.random, self._max_errors, may_eject)
        return self._change(name, before, after, targets, failure_text(before, reason))

    def record_server_error(self, target: Target, table: RoutingTable) -> bool:
        """Record an answer with status 500: eject a failing instance, otherwise treat the answer as a success."""
        name, attempts = target.name, self._attempts(target.name)
        errors, before = self.server_errors[name], self.by_instance.get(name, UNKNOWN_HEALTH)
        errors.add(attempts)
        ejects = self._ejects_failing and self.is_failing(target, table)
        if ejects and (before.in_trial or self._may_eject(table.targets)):
            after = ejection.after_failure(before, self._clock(), random.random, max_errors=1)
            count, answers = errors.count(attempts), min(attempts, LAST_ANSWERS)
            reason = f"{count} of its last {answers} answers are 500, and other instances of its models answer"
            return self._change(name, before, after, table.targets, reason)
        return name in self.by_instance and self.record_success(name, table.targets)

    def _may_eject(self, targets: Iterable[Target]) -> bool:
        ejected = sum(1 for target in targets if self.is_ejected(target.name))
        return ejection.may_eject(ejected, sum(target.accepts_requests() for target in targets), self._max_ejected)

    def record_success(self, name: str, targets: Iterable[Target]) -> bool:
        before = self.by_instance.get(name, UNKNOWN_HEALTH)
        return self._change(name, before, ejection.after_success(before), targets)

    def record_inconclusive(self, name: str, targets: Iterable[Target]) -> bool:
        """Record a request that proves nothing about the instance."""
        before = self.by_instance.get(name, UNKNOWN_HEALTH)
        return self._change(name, before, ejection.after_inconclusive(before), targets)

    def begin_trial(self, name: str, targets: Iterable[Target]) -> bool:
        """Record that the trial request of an ejected instance is in flight."""
        before = self.by_instance.get(name, UNKNOWN_HEALTH)
        return self._change(name, before, ejection.with_trial_begun(before), targets)

    def lapsed_ejections(self, now: float) -> list[str]:
        """Return the names of instances whose ejection time is over, and whose trial is neither due nor in flight."""
        return [
            name
            for name, health in self.by_instance.items()
            if health.ejected_until and now >= health.ejected_until and not (health.trial_due or health.in_trial)
        ]

    def make_trials_due(self, names: Iterable[str], now: float, targets: Iterable[Target]) -> bool:
        """Allow one trial request to each of these instances whose ejection time is over."""
        changes = []
        for name in names:
            before = self.by_instance.get(name, UNKNOWN_HEALTH)
            changes.append(self._change(name, before, ejection.with_ejection_lapsed(before, now), targets))
        return any(changes)

    def _change(
        self, name: str, before: InstanceHealth, after: InstanceHealth, targets: Iterable[Target], reason: str = ""
    ) -> bool:
        self.by_instance[name] = after
        if before.ejected_until and not after.ejected_until:
            self.server_errors.pop(name, None)  # the trial succeeded, so earlier answers no longer count
        if after.healthy is not before.healthy and (before.healthy is not None or after.healthy is False):
            log.info("%s %s its health checks", name, "passes" if after.healthy else "fails")
            if before.healthy is not None or not _is_known_unhealthy(name, targets):
                self._events.checked(name, after)
        if after.ejected_until != before.ejected_until:
            self._statistics.instances[name].ejections += bool(after.ejected_until)
            self._report_ejection(name, before, after, reason)
        if before.healthy is None and after.healthy and not _is_known_unhealthy(name, targets):
            return after.is_usable() != before.is_usable()  # else, the first check has only confirmed the table
        return after.is_usable() != before.is_usable() or after.healthy is not before.healthy

    def _report_ejection(self, name: str, before: InstanceHealth, after: InstanceHealth, reason: str) -> None:
        """Log that an ejection began or ended. Also send an event, except while the instance fails its checks."""
        if after.ejected_until:
            seconds = after.ejected_until - self._clock()
            log.info("ejected %s for %.0f s: %s", name, seconds, reason)
            if after.healthy is not False:
                self._events.ejected(name, after, reason, seconds)
        else:
            log.info("%s is back", name)
            if before.reported:
                self._events.add("readmitted", name)


def _is_known_unhealthy(name: str, targets: Iterable[Target]) -> bool:
    """Return whether the registry lists the instance as unhealthy, so that a starting router need not report it."""
    return any(target.healthy is False for target in targets if target.name == name)


def failure_text(before: InstanceHealth, reason: str) -> str:
    """Return the reason for an ejection after failed requests. `reason`: how the last one failed."""
    if before.in_trial:
        return f"the trial request failed: {reason}"
    if before.failures:
        return f"{before.failures + 1} requests in a row failed, the last one: {reason}"
    return f"a request failed: {reason}"
