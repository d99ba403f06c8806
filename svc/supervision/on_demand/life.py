"""Keeps track of whether the process of an on-demand program is loading, awake or asleep, and since when. Pure.

`now` is in monotonic seconds.
"""

from svc.supervision.on_demand.host import Phase
from svc.supervision.on_demand.instance_facts import InstanceFacts

EARLIEST_READY_SECONDS = 1.0  # an earlier report `running` may be about the process before this one
WAKE_TIMEOUT_SECONDS = 10.0  # an engine that reports sleep so long after the order to wake it counts as asleep again


class Life:
    """The mode of one process, which is `loading` at first."""

    def __init__(self, pid: int, now: float) -> None:
        self.pid = pid
        self.mode: Phase = "loading"
        self.since = now  # when the mode began
        self._was_unready = False  # the babysitter has reported that the process is not ready yet

    def report(self, facts: InstanceFacts, sleeps_running: bool, now: float) -> float | None:
        """Record what the babysitter reports; if this ends a load, return the seconds that the load took.

        `sleeps_running` means that the engine can sleep while its process runs.
        """
        elapsed = now - self.since
        if facts.status in ("running", "draining"):
            if self.mode == "asleep" or (
                self.mode == "loading" and (self._was_unready or elapsed >= EARLIEST_READY_SECONDS)
            ):
                was_loading = self.mode == "loading"
                self._enter("awake", now)
                return elapsed if was_loading else None
            return None
        self._was_unready = True
        has_not_woken = self.mode == "loading" and elapsed > WAKE_TIMEOUT_SECONDS
        if facts.status == "asleep" and sleeps_running and (self.mode == "awake" or has_not_woken):
            self._enter("asleep", now)
        return None

    def wake(self, now: float) -> None:
        """Record that the babysitter gets the order to wake the engine."""
        self._enter("loading", now)

    def _enter(self, mode: Phase, now: float) -> None:
        self.mode, self.since = mode, now
