"""Adaptive concurrency limits: how many requests an engine should have at once, for `max_concurrency = "auto"`. Pure.

Requests that wait in the router are served by fair shares; those that wait in an engine are not. So the limit of an
instance follows what its engine reports:

    more than a few requests wait in the engine    the limit becomes the number of this router's requests in the engine,
                                                   minus this router's share of the excess
    none waits, and the limit is reached           the limit rises by an eighth; it doubles as long as the engine has
                                                   never had a queue
    else                                           the limit stays

"A few" means one request, and one more for each WAITING_SHARE requests that run, so that the engine always has a next
request. The excess is what waits beyond that. An engine that reports nothing has no limit.
"""

from collections.abc import Callable, Iterable, Mapping

import msgspec

from svc.protocol.instance_load import InstanceLoad

FIRST_LIMIT = 16
GROWTH_SHARE = 8
WAITING_SHARE = 16
MAX_LIMIT = 100_000
FORGET_SECONDS = 60.0  # a limit is forgotten this long after the last report
NEW_REPORT_SECONDS = 0.05  # a report is new if it is this much newer than the last: ages are read with a small error


class AdaptiveLimit(msgspec.Struct, frozen=True):
    """An instance's limit. `had_queue`: requests have waited in its engine; `reported_at`: when it last reported."""

    limit: int = FIRST_LIMIT
    had_queue: bool = False
    reported_at: float = float("-inf")

    def next(self, load: InstanceLoad, own: int, is_reached: bool) -> "AdaptiveLimit":
        """Return the limit after a report.

        `own`: an upper bound for the number of this router's requests in the engine; `is_reached`: this router has as
        many requests in flight there as the limit allows.
        """
        target = 1 + load.running // WAITING_SHARE
        if load.waiting > target:
            total = load.running + load.waiting
            own = min(own, total)  # `own` also counts requests that began or ended shortly before or after the report
            excess = (load.waiting - target) * own // total
            return msgspec.structs.replace(self, limit=max(1, min(self.limit, own - excess)), had_queue=True)
        if load.waiting or not is_reached:
            return self
        growth = max(1, self.limit // GROWTH_SHARE) if self.had_queue else self.limit
        return msgspec.structs.replace(self, limit=min(MAX_LIMIT, self.limit + growth))


class AdaptiveLimits:
    """The limits of all instances with `max_concurrency = "auto"`."""

    def __init__(self) -> None:
        self._limits: dict[str, AdaptiveLimit] = {}

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
        router's; `in_flight`: returns how many requests of this router are in flight at an instance now.
        """
        before, self._limits = self._limits, {}
        for name in names:
            adaptive, report = before.get(name), reports.get(name)
            if report is not None:
                load, reported_at = report
                adaptive = adaptive or AdaptiveLimit()
                if reported_at > adaptive.reported_at + NEW_REPORT_SECONDS:
                    adaptive = adaptive.next(load, own_requests.get(name, 0), in_flight(name) >= adaptive.limit)
                    adaptive = msgspec.structs.replace(adaptive, reported_at=reported_at)
            if adaptive is not None and now - adaptive.reported_at <= FORGET_SECONDS:
                self._limits[name] = adaptive
        return {name: adaptive.limit for name, adaptive in self._limits.items()}
