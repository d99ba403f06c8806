"""The feed of the page: each message is composed once and sent to all open pages.

While no page is open, no messages are composed; only counts are sampled, for the history that a new page receives.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from svc.base.counter_rates import (
    POINT_INTERVAL_SECONDS,
    POINTS_PER_MINUTE,
    RateHistory,
    RateWindow,
    RecentCounts,
    Sample,
)
from svc.base.errors import SvcError
from svc.router.state import RouterState
from svc.router.ui import view
from svc.router.ui.subscribers import Subscriber, Subscribers

if TYPE_CHECKING:  # not at run time: a router without a registry does not load the registry's client
    from svc.client.registry import RegistryClient

log = logging.getLogger(__name__)
UPDATE_INTERVAL_SECONDS = 0.5  # time between two comparisons of the table
TICK_INTERVAL_SECONDS = 1.0  # time between two messages with numbers
MAX_EVENTS = 100  # the registry's last events, which a new page receives
EVENTS_TIMEOUT_SECONDS = 20.0  # the registry waits up to this long for a new event
EVENTS_RETRY_SECONDS = 1.0  # time between two reads after a failure or while no page is open

encode = msgspec.json.encode


class Feed:
    """The composer of the page's messages. Call `update` every UPDATE_INTERVAL_SECONDS, `open` for each new page."""

    def __init__(
        self, state: RouterState, now: Callable[[], float] = time.time, site_name: str = "", hostname: str = ""
    ) -> None:
        self.subscribers = Subscribers()
        self.on_open: Callable[[], object] = lambda: None  # called when a page opens
        self._state = state
        self._now = now
        self._place = {"name": site_name, "host": hostname}
        self._started = now()
        self._lock = threading.Lock()
        self._updates = 0
        self._window = RateWindow(state.clock())
        self._history = RateHistory()
        self._recent = RecentCounts()
        self._last_minute, self._instances_last_minute = (
            RecentCounts(POINTS_PER_MINUTE),
            RecentCounts(POINTS_PER_MINUTE),
        )
        self._events: deque[dict[str, Any]] = deque(maxlen=MAX_EVENTS)
        self._site: dict[str, Any] = {}  # the result of `view.site` that was sent last
        self._instances: dict[str, Any] = {}  # the result of `view.instances` that was sent last
        self._gpus: dict[str, Any] | None = None  # host -> its GPUs, as sent last; None: they were not read

    def open(self) -> Subscriber:
        """Return a new subscriber that first receives all data; raise RateLimited if too many pages are open."""
        with self._lock:
            if not self.subscribers:
                self._refresh_site()
            first = [
                self._site_message(),
                self._history_message(),
                sse_message("events", {"events": list(self._events)}),
                self._tick_message(everything=True),
            ]
            if self._gpus is not None:
                first.append(_gpus_message(self._gpus, {}))
            subscriber = self.subscribers.add(first)
        self.on_open()
        return subscriber

    def update(self) -> None:
        """Sample the counts, and send to all pages what has changed."""
        with self._lock:
            self._updates += 1
            is_tick = self._updates % round(TICK_INTERVAL_SECONDS / UPDATE_INTERVAL_SECONDS) == 0
            if is_tick:
                self._sample()
            if not self.subscribers:
                return
            if self._refresh_site():
                self.subscribers.send(self._site_message())
            if is_tick:
                self.subscribers.send(self._tick_message())

    def add_events(self, events: Sequence[dict[str, Any]]) -> None:
        """Send new events of the registry to all pages, and keep them for pages that open later."""
        with self._lock:
            self._events.extend(events)
            self.subscribers.send(sse_message("events", {"events": events}))

    def clear_events(self) -> None:
        """Drop all events, because the registry has lost them. End all streams, so that pages connect again."""
        with self._lock:
            self._events.clear()
            self.subscribers.end()

    def set_gpus(self, hosts: dict[str, Any] | None) -> None:
        """Send the GPUs of the hosts on which something has changed; None: they are not read, so they are unknown."""
        with self._lock:
            before, self._gpus = self._gpus, hosts
            if hosts is not None and hosts != before:
                self.subscribers.send(_gpus_message(hosts, before or {}))

    def _sample(self) -> None:
        state = self._state
        self._window.add(Sample(state.clock(), view.counts_of_models(state), view.counts_of_instances(state)))
        if self._updates % round(POINT_INTERVAL_SECONDS / UPDATE_INTERVAL_SECONDS) == 0:
            self._history.add({name: self._window.model(name) for name in state.balancer.table.models})
            self._recent.add(
                {**view.errors_by_model(state), view.UNKNOWN_MODELS: dict(state.statistics.unknown_models)}
            )
            self._last_minute.add(view.outcomes_by_model(state))
            self._instances_last_minute.add(view.errors_by_instance(state))

    def _refresh_site(self) -> bool:
        """Compose the site anew, and return whether it has changed."""
        before, self._site = self._site, view.site(self._state)
        return self._site != before

    def _site_message(self) -> bytes:
        site, age = self._site, self._state.table_age()
        router = {**site["router"], "since": self._started}
        registry = {**site["registry"], "age": None if age is None else round(age, 1)}
        data = {"now": self._now(), "every": TICK_INTERVAL_SECONDS, "site": self._place}
        return sse_message("site", {**site, **data, "router": router, "registry": registry})

    def _history_message(self) -> bytes:
        return sse_message(
            "history", {"every": POINT_INTERVAL_SECONDS, "end": self._now(), "models": self._history.columns()}
        )

    def _tick_message(self, everything: bool = False) -> bytes:
        """Return a message with the numbers of all models, and of the instances whose numbers have changed.

        With `everything`, for a new page, the message has the numbers of all instances.
        """
        state = self._state
        instances = view.instances(state, self._window)
        before = self._instances
        if not (everything and self.subscribers):
            self._instances = instances
        if not everything:
            instances = {name: numbers for name, numbers in instances.items() if before.get(name) != numbers}
        all_rates = {name: self._window.model(name) for name in list(state.statistics.models)}
        shown_models = state.balancer.table.models
        return sse_message(
            "tick",
            {
                "time": self._now(),
                "in_flight": state.balancer.in_flight,
                "waiting": state.balancer.queue.waiting,
                "requests": round(sum(rates.requests for rates in all_rates.values()), 3),
                "errors": round(sum(rates.errors for name, rates in all_rates.items() if name in shown_models), 3),
                "retries": state.balancer.retries,
                "resumed": sum(state.statistics.resumptions_by_outcome()["resumed"].values()),
                "models": view.models(
                    state, self._window, self._recent, self._last_minute, self._instances_last_minute
                ),
                "instances": instances,
                "others": view.unserved(state, self._recent),
            },
        )


class EventFollower:
    """The job that follows the registry's events while a page is open.

    Call `run_round` again and again: after the seconds that the last call returned, or at once when a page opens.
    """

    def __init__(self, feed: Feed, client: "RegistryClient") -> None:
        self._feed = feed
        self._client = client
        self._last_id: int | None = None
        self._away = False

    def run_round(self) -> float:
        """Read new events into the feed; return the seconds to pause before the next call.

        Of several failures in a row, only the first is logged: the page itself shows that the registry does not answer.
        """
        if not self._feed.subscribers:
            return EVENTS_RETRY_SECONDS
        timeout = EVENTS_TIMEOUT_SECONDS if self._last_id is not None else 0
        try:
            events, last_id = self._client.events(self._last_id, MAX_EVENTS, timeout)
        except SvcError as error:
            if not self._away:
                log.warning("no events for the page: %s", error)
            self._away = True
            return EVENTS_RETRY_SECONDS
        self._away = False
        if self._last_id is not None and last_id < self._last_id:
            self._feed.clear_events()
        self._last_id = last_id
        if events:
            self._feed.add_events(events)
        return 0.0


def _gpus_message(hosts: dict[str, Any], before: dict[str, Any]) -> bytes:
    """Return a message with the names of all hosts that have GPUs, and with the GPUs that differ from `before`."""
    changed = {name: host for name, host in hosts.items() if before.get(name) != host}
    return sse_message("gpus", {"hosts": list(hosts), "changed": changed})


def sse_message(name: str, data: dict[str, Any]) -> bytes:
    """Return a server-sent event with this name and with `data` as JSON (the HTML standard, 9.2.5)."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), encode(data))
