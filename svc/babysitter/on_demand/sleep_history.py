"""When and why an instance on demand woke and slept, and how long its last load took."""

import dataclasses
import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from svc.babysitter.lifecycle import LifecycleEvent, LifecycleState
from svc.client.event_sender import Delivery, EventSender
from svc.protocol.event import BABYSITTER_SOURCE
from svc.protocol.service import iso

log = logging.getLogger(__name__)
MAX_EVENTS = 16  # kept while the registry does not answer; older ones are dropped
BY_HAND_STOP, BY_HAND_START = "stopped by an operator", "started by an operator"
LOAD_DIGITS = 1


@dataclasses.dataclass(frozen=True, slots=True)
class SleepChange:
    """The last time that the instance woke up or fell asleep."""

    reason: str
    seconds: float | None  # how long it took; None: unknown, because it began before this babysitter started
    at: float  # Unix seconds

    def to_json(self) -> dict[str, Any]:
        return {"reason": self.reason, "seconds": self.seconds, "time": iso(self.at)}


class SleepHistory:
    """Records loads and sleeps: call `observe` with each event of the lifecycle, in order.

    `clock` is monotonic, and `now` returns Unix seconds. `load_seconds` is the duration of the last load as an earlier
    babysitter has measured it.
    """

    def __init__(
        self, name: str, clock: Callable[[], float], now: Callable[[], float], load_seconds: float | None = None
    ) -> None:
        self.load_seconds = load_seconds
        self.loads = 0  # number of times that it became ready after a start or a wake
        self.sleeps = 0
        self.woken: SleepChange | None = None
        self.slept: SleepChange | None = None
        self.events: deque[dict[str, Any]] = deque(maxlen=MAX_EVENTS)  # not yet reported to the registry
        self._name = name
        self._clock = clock
        self._now = now
        self._loading_since: float | None = None
        self._ending_since: float | None = None  # when it began to drain in order to sleep
        self._was_asleep = False
        self._sleep_reason = self._wake_reason = ""

    def expect_sleep(self, reason: str) -> None:
        """Record why the instance is being put to sleep."""
        self._sleep_reason = reason

    def expect_wake(self, reason: str) -> None:
        """Record why the instance is to be woken."""
        self._wake_reason = reason

    def observe(self, before: LifecycleState, event: LifecycleEvent, after: LifecycleState) -> None:
        """Measure loads, and add an event for the registry if the instance has fallen asleep or has woken."""
        now = self._clock()
        if event in (LifecycleEvent.SPAWNED, LifecycleEvent.WAKES):
            self._loading_since = None if before is LifecycleState.UNSEEN else now
        elif event is LifecycleEvent.READY and before is LifecycleState.STARTING:
            self._became_ready(now)
        elif event in (LifecycleEvent.RELEASED, LifecycleEvent.STOPPING):
            self._ending_since = now if self._ending_since is None else self._ending_since
        elif event is LifecycleEvent.KEPT:
            self._ending_since, self._sleep_reason = None, ""
        if after is LifecycleState.ASLEEP is not before:
            self._fell_asleep(before, now)

    def report(self, sender: EventSender) -> None:
        """Send the events to the registry; if it is unreachable, a later call does so."""
        while self.events and sender.is_ready:
            events = list(self.events)
            if sender.send(events) is Delivery.POSTPONED:
                return
            for _ in events:
                self.events.popleft()

    def _became_ready(self, now: float) -> None:
        self.loads += 1
        seconds = None if self._loading_since is None else round(now - self._loading_since, LOAD_DIGITS)
        if seconds is not None:
            self.load_seconds = seconds
        self._ending_since, self._sleep_reason = None, ""
        if self._was_asleep:
            self.woken = self._note("woken", self._wake_reason or BY_HAND_START, seconds, "ready after")
        self._was_asleep, self._wake_reason = False, ""

    def _fell_asleep(self, before: LifecycleState, now: float) -> None:
        self._was_asleep = True
        if before is LifecycleState.UNSEEN or (before is LifecycleState.STARTING and self._loading_since is None):
            return  # it slept before this babysitter started
        self.sleeps += 1
        seconds = None if self._ending_since is None else round(now - self._ending_since, LOAD_DIGITS)
        self.slept = self._note("slept", self._sleep_reason or BY_HAND_STOP, seconds, "it took")
        self._ending_since, self._sleep_reason = None, ""

    def _note(self, kind: str, reason: str, seconds: float | None, verb: str) -> SleepChange:
        message = reason if seconds is None else f"{reason}; {verb} {seconds:g} s"
        log.info("%s: %s: %s", self._name, kind, message)
        self.events.append({"kind": kind, "service": self._name, "source": BABYSITTER_SOURCE, "message": message})
        return SleepChange(reason, seconds, self._now())
