"""The life of a process of an on-demand program, as far as decisions need it: loading, awake, asleep. Pure.

Every change has the current time as an argument, in monotonic seconds.
"""

from svc.supervision.on_demand.facts import Facts
from svc.supervision.on_demand.host import Phase

EARLIEST_READY_SECONDS = 1.0  # an earlier report `running` may be about the process before this one
WAKE_TIMEOUT_SECONDS = 10.0  # an engine that reports sleep so long after the order to wake is asleep again


class Life:
    """The life of one process, which begins with its load."""

    def __init__(self, pid: int, now: float) -> None:
        self.pid = pid
        self.mode: Phase = "loading"
        self.since = now  # when the mode began
        self._was_unready = False  # the babysitter has reported that the process is not ready yet

    def report(self, facts: Facts, sleeps_running: bool, now: float) -> float | None:
        """Note what the babysitter reports; return the seconds of the load if this report ends it.

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
        """Note that the babysitter gets the order to wake the engine."""
        self._enter("loading", now)

    def _enter(self, mode: Phase, now: float) -> None:
        self.mode, self.since = mode, now
