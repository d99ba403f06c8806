"""Decides when an instance that gives way may be put to sleep, so that no request is cut off. Pure.

Requests stop when the routers know that the instance drains. They learn it from the registry within a fraction of a
second, but each may have chosen the instance just before. So after the registry has accepted the status `draining`, the
instance must be without requests for SETTLE_SECONDS, in two readings at least.
"""

from svc.babysitter.health_rules import MAX_DRAIN_SECONDS

SETTLE_SECONDS = 0.2
MIN_IDLE_READINGS = 2


class Release:
    """The drain of one instance before it sleeps. `began` and `now` are monotonic seconds."""

    def __init__(self, began: float) -> None:
        self.began = began
        self._accepted_at: float | None = None  # when the registry was first seen to have accepted `draining`
        self._idle_since: float | None = None
        self._idle_readings = 0
        self._is_counted = False  # whether a reading has ever shown the requests

    def is_over(self, accepted: bool, in_flight: int | None, now: float) -> bool:
        """Return whether the instance may sleep, given a reading of its requests that began before `now`.

        `accepted` says whether the registry knew before the reading that the instance drains. If no reading shows the
        requests (None), only an operator puts the instance to sleep; then it drains for MAX_DRAIN_SECONDS.
        """
        self._is_counted = self._is_counted or in_flight is not None
        if not accepted:
            self._accepted_at = self._idle_since = None
            return False
        if self._accepted_at is None:
            self._accepted_at = now
        if in_flight is None:
            self._idle_since = None
            return not self._is_counted and now - self._accepted_at >= MAX_DRAIN_SECONDS
        if in_flight:
            self._idle_since = None
            return False
        if self._idle_since is None:
            self._idle_since, self._idle_readings = now, 0
        self._idle_readings += 1
        return self._idle_readings >= MIN_IDLE_READINGS and now - self._idle_since >= SETTLE_SECONDS

    def waits_for(self, accepted: bool, in_flight: int | None) -> str:
        """Return a text on what delays the sleep."""
        if not accepted:
            return "waits until the registry knows that it drains"
        if in_flight is None:
            return f"drains for {MAX_DRAIN_SECONDS:g} s, because its requests cannot be counted"
        return f"{in_flight} requests in flight" if in_flight else "has no requests in flight"
