"""Finds how many requests an engine should have at once, for `max_concurrency = "auto"`. Pure.

Requests that wait in the router are served by fair shares; those that wait in an engine are not. So the limit of an
instance follows what its engine reports (additive increase, multiplicative in the beginning, decrease to what fits):

    more than a few requests wait in the engine    the limit becomes what the engine has of this router's requests,
                                                   without those that wait too many
    none waits, and the limit is reached           the limit rises by an eighth; until the engine had a queue for the
                                                   first time, it doubles
    else                                           the limit stays

A few means one, and one more for each WAITING_SHARE requests that run: so the engine has the next request at hand.
An engine that reports nothing has no limit.
"""

from collections.abc import Callable, Iterable, Mapping

import msgspec

from svc.protocol.instance_load import InstanceLoad

FIRST_LIMIT = 16
GROWTH_SHARE = 8
WAITING_SHARE = 16
MAX_LIMIT = 100_000
FORGET_SECONDS = 60.0  # after the last report
NEW_REPORT_SECONDS = 0.05  # by which a report must be newer: the age of one report is read with a small error


class FoundLimit(msgspec.Struct, frozen=True):
    """The limit of one instance. `had_queue`: requests have waited in its engine; `reported_at`: the last report."""

    limit: int = FIRST_LIMIT
    had_queue: bool = False
    reported_at: float = float("-inf")


def next_limit(found: FoundLimit, load: InstanceLoad, own: int, is_reached: bool) -> FoundLimit:
    """Return the limit after a report.

    `own`: how many of the requests that the engine has are this router's; `is_reached`: this router has as many
    requests in flight there as the limit allows.
    """
    target = 1 + load.running // WAITING_SHARE
    if load.waiting > target:
        total = max(own, load.running + load.waiting)
        excess = (load.waiting - target) * own // total if total else 0
        return msgspec.structs.replace(found, limit=max(1, min(found.limit, own - excess)), had_queue=True)
    if load.waiting or not is_reached:
        return found
    growth = max(1, found.limit // GROWTH_SHARE) if found.had_queue else found.limit
    return msgspec.structs.replace(found, limit=min(MAX_LIMIT, found.limit + growth))


class LimitFinder:
    """The limits of all instances that have none of their own."""

    def __init__(self) -> None:
        self._found: dict[str, FoundLimit] = {}

    def update(
        self,
        names: Iterable[str],
        reports: Mapping[str, tuple[InstanceLoad, float]],
        own_requests: Mapping[str, int],
        in_flight: Callable[[str], int],
        now: float,
    ) -> dict[str, int]:
        """Take account of the reports of these instances, and return the limits of those that have reported.

        `reports`: the load of each instance, and when it was reported; `own_requests`: how many requests in it are this
        router's; `in_flight`: returns how many of them an instance has now.
        """
        before, self._found = self._found, {}
        for name in names:
            found, report = before.get(name), reports.get(name)
            if report is not None:
                load, reported_at = report
                found = found or FoundLimit()
                if reported_at > found.reported_at + NEW_REPORT_SECONDS:
                    own, is_reached = own_requests.get(name, 0), in_flight(name) >= found.limit
                    found = next_limit(found, load, own, is_reached)
                    found = msgspec.structs.replace(found, reported_at=reported_at)
            if found is not None and now - found.reported_at <= FORGET_SECONDS:
                self._found[name] = found
        return {name: found.limit for name, found in self._found.items()}
