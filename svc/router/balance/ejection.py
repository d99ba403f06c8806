"""Outlier ejection and health checks: how an instance's health changes with each result. Pure.

An instance's health has two sources, and neither overrules the other:

1. Health checks. An instance becomes unhealthy after `max_errors` failed checks in a row, and healthy again after
   two passed checks in a row. A new instance, which is neither yet, becomes healthy after one passed check.
2. Requests. An instance is ejected after `max_errors` failed requests in a row. Only transport failures and 502, 503
   and 504 count, never a failure that a client can cause. After a time that doubles with each ejection in a row, one
   trial request decides whether the ejection ends. The trial is due at once if health checks have seen the instance
   fail and recover. (Envoy's outlier detection, with Finagle's jitter.)
"""

from collections.abc import Callable

import msgspec

CHECKS_UNTIL_HEALTHY = 2  # passed checks in a row
BASE_EJECTION_SECONDS = 5.0  # duration of the first ejection
MAX_EJECTION_SECONDS = 300.0
# Up to this share of an ejection's time is added or subtracted at random, so that instances do not return all at once.
EJECTION_JITTER_RATIO = 0.25
MAX_COUNTED_EJECTIONS = 16


class InstanceHealth(msgspec.Struct, frozen=True):
    """The health of one instance: the results of its health checks, its failed requests, and its ejection."""

    healthy: bool | None = None  # according to health checks; None before they have decided
    checked_at: float = 0.0  # monotonic seconds of the last health check; 0: none yet
    failed_checks: int = 0
    passed_checks: int = 0
    failures: int = 0
    ejections: int = 0
    ejected_until: float = 0.0  # monotonic seconds; 0: not ejected
    trial_due: bool = False  # whether one request may try the ejected instance
    in_trial: bool = False  # whether the trial request is in flight
    reported: bool = False  # whether an event of the ejection was sent; none is sent while the health checks fail

    def is_usable(self) -> bool:
        return not self.ejected_until or self.trial_due


def after_check(before: InstanceHealth, passed: bool, max_errors: int) -> InstanceHealth:
    """Return the instance's health after a health check that passed or failed."""
    change = msgspec.structs.replace
    if not passed:
        failed = before.failed_checks + 1
        return change(
            before, failed_checks=failed, passed_checks=0, healthy=False if failed >= max_errors else before.healthy
        )
    count = before.passed_checks + 1
    decided = before.healthy is None or before.healthy or count >= CHECKS_UNTIL_HEALTHY
    after = change(
        before,
        failed_checks=0,
        passed_checks=min(count, CHECKS_UNTIL_HEALTHY),
        healthy=True if decided else before.healthy,
    )
    recovered = decided and before.healthy is False and before.ejected_until and not before.in_trial
    return change(after, trial_due=True) if recovered else after  # the instance is back: the ejection may end early


def after_failure(
    before: InstanceHealth, now: float, draw: Callable[[], float], max_errors: int, may_eject: bool = True
) -> InstanceHealth:
    """Return the instance's health after a failed request, which may eject the instance.

    `draw` returns a random number in [0, 1); `may_eject` is false if too many instances are ejected already.
    """
    failures = before.failures + 1
    if before.ejected_until and not before.in_trial:  # the request began before the ejection
        return before
    if not (before.in_trial or failures >= max_errors) or not (before.in_trial or may_eject):
        return msgspec.structs.replace(before, failures=failures)
    backoff = min(MAX_EJECTION_SECONDS, BASE_EJECTION_SECONDS * 2**before.ejections)
    return msgspec.structs.replace(
        before,
        failures=0,
        ejections=min(before.ejections + 1, MAX_COUNTED_EJECTIONS),
        ejected_until=now + backoff * (1 + EJECTION_JITTER_RATIO * (2 * draw() - 1)),
        in_trial=False,
        reported=before.reported or before.healthy is not False,
    )


def after_success(before: InstanceHealth) -> InstanceHealth:
    """Return the instance's health after a good response: its failures are forgotten; a trial ends the ejection."""
    if before.ejected_until and not before.in_trial:
        return before
    return msgspec.structs.replace(before, failures=0, ejections=0, ejected_until=0.0, in_trial=False, reported=False)


def after_inconclusive(before: InstanceHealth) -> InstanceHealth:
    """Return the instance's health after a request that proves nothing. If it was the trial, a trial is due again."""
    return msgspec.structs.replace(before, trial_due=True, in_trial=False) if before.in_trial else before


def with_trial_begun(before: InstanceHealth) -> InstanceHealth:
    """Return the instance's health during its trial request: it gets no other request until the trial ends."""
    return msgspec.structs.replace(before, trial_due=False, in_trial=True)


def with_ejection_lapsed(before: InstanceHealth, now: float) -> InstanceHealth:
    """Return the instance's health at the time `now`: once the time of its ejection is over, a trial is due."""
    if before.ejected_until and not before.trial_due and not before.in_trial and now >= before.ejected_until:
        return msgspec.structs.replace(before, trial_due=True)
    return before


def may_eject(ejected: int, instances: int, max_ratio: float) -> bool:
    """Return whether one more instance may be ejected: up to the share `max_ratio` of all, and always at least one."""
    return ejected + 1 <= max(1, int(instances * max_ratio))
