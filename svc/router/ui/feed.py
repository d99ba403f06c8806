"""The router's pulse: what happens is told to all open pages, once for all of them.

Nothing is composed while no page is open; only the counts are looked at, for the past that a page begins with.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from svc.base.counter_rates import (
    POINT_INTERVAL_SECONDS,
    POINTS_PER_MINUTE,
    RateHistory,
    RateWindow,
    RecentCounts,
    Sample,
)
from svc.router.state import RouterState
from svc.router.ui import view
from svc.router.ui.subscribers import Subscriber, Subscribers

BEAT = 0.5  # seconds between two looks at the table
TICK = 1.0  # seconds between two looks at the counts
EVENTS = 100  # of the registry's, that a page begins with

encode = msgspec.json.encode


class Feed:
    """`beat` is called every BEAT seconds, `open` by who serves a page; `happened` tells the registry's events."""

    def __init__(self, state: RouterState, now: Callable[[], float] = time.time) -> None:
        self.pages = Subscribers()
        self.opened: Callable[[], object] = lambda: None  # called when a page opens
        self._state = state
        self._now = now
        self._started = now()
        self._lock = threading.Lock()
        self._beats = 0
        self._window = RateWindow(state.clock())
        self._past = RateHistory()
        self._lately, self._minute = RecentCounts(), RecentCounts(POINTS_PER_MINUTE)
        self._events: deque[dict[str, Any]] = deque(maxlen=EVENTS)
        self._site: dict[str, Any] = {}  # as it was told last
        self._instances: dict[str, Any] = {}

    def open(self) -> Subscriber:
        """A page, to which everything has been told; raises RateLimited where there are too many."""
        with self._lock:
            if not self.pages:
                self._look()
            told = [self._told_site(), self._history(), message("events", {"events": list(self._events)})]
            page = self.pages.add([*told, self._tick(everything=True)])
        self.opened()
        return page

    def beat(self) -> None:
        with self._lock:
            self._beats += 1
            ticks = self._beats % round(TICK / BEAT) == 0
            if ticks:
                self._sample()
            if not self.pages:
                return
            if self._look():
                self.pages.tell(self._told_site())
            if ticks:
                self.pages.tell(self._tick())

    def happened(self, events: Sequence[dict[str, Any]]) -> None:
        with self._lock:
            self._events.extend(events)
            self.pages.tell(message("events", {"events": events}))

    def forget(self) -> None:
        """The registry has lost its events: pages begin anew with those it has."""
        with self._lock:
            self._events.clear()
            self.pages.end()

    def _sample(self) -> None:
        state = self._state
        self._window.add(Sample(state.clock(), view.counts_of_models(state), view.counts_of_instances(state)))
        if self._beats % round(POINT_INTERVAL_SECONDS / BEAT) == 0:
            self._past.add({name: self._window.model(name) for name in state.table.models})
            self._lately.add(view.all_kinds(state))
            self._minute.add(view.all_ends(state))

    def _look(self) -> bool:
        """Whether there is something new to tell of the site."""
        before, self._site = self._site, view.site(self._state)
        return self._site != before

    def _told_site(self) -> bytes:
        site, age = self._site, self._state.age()
        router = {**site["router"], "since": self._started}
        registry = {**site["registry"], "age": None if age is None else round(age, 1)}
        return message("site", {**site, "now": self._now(), "every": TICK, "router": router, "registry": registry})

    def _history(self) -> bytes:
        return message("history", {"every": POINT_INTERVAL_SECONDS, "end": self._now(), "models": self._past.columns()})

    def _tick(self, everything: bool = False) -> bytes:
        """Numbers of instances only where they are not what all pages were told; `everything` is for one that opens."""
        state = self._state
        told = view.instances(state, self._window)
        before = self._instances
        if not (everything and self.pages):
            self._instances = told
        if not everything:
            told = {name: numbers for name, numbers in told.items() if before.get(name) != numbers}
        everybody = [self._window.model(name) for name in list(state.recorder.meters)]
        return message(
            "tick",
            {
                "time": self._now(),
                "in_flight": state.in_flight,
                "waiting": state.lines.waiting,
                "requests": round(sum(rates.requests for rates in everybody), 3),
                "errors": round(sum(rates.errors for rates in everybody), 3),
                "retries": state.retries,
                "models": view.models(state, self._window, self._lately, self._minute),
                "instances": told,
                "others": view.others(state, self._lately),
            },
        )


def message(name: str, data: dict[str, Any]) -> bytes:
    """As an event of a stream (the HTML standard, 9.2.5)."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), encode(data))
