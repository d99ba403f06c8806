"""What the router found out about instances, told to the registry as events: never in a request's way."""

import re
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from svc.client.event_sender import Delivery, EventSender
from svc.router.balance.ejection import InstanceHealth

if TYPE_CHECKING:  # the worker imports this before gevent has patched what the client uses
    from svc.client.registry import Events, RegistryClient

KEPT = 500  # events, while no registry answers; then the oldest go
AT_ONCE = 100  # events of one request
SEND_INTERVAL_SECONDS = 1.0  # between two looks for new events; each new event pokes the loop, too


class EventReporter:
    """`add` is called by whoever judges; `once` again and again."""

    def __init__(self, port: int) -> None:
        self.dropped = 0  # ever
        self.added: Callable[[], object] = lambda: None  # called when there is something new
        self._kept: deque[dict[str, str]] = deque()
        host = re.sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname())[:100]
        self._source = f"router-{host}-{port}"  # of several routers, which one

    def add(self, kind: str, name: str, message: str = "") -> None:
        if len(self._kept) >= KEPT:
            self._kept.popleft()
            self.dropped += 1
        self._kept.append({"kind": kind, "service": name, "source": self._source, "message": message})
        self.added()

    def ejected(self, name: str, before: InstanceHealth, after: InstanceHealth, why: str, now: float) -> None:
        """`why`: what the last request has failed with."""
        row = before.failures + 1
        what = f"{row} requests in a row failed, the last one" if row > 1 else "a request failed"
        out = f"nothing new for {after.until - now:.0f} s"
        times = f", {after.ejections} times in a row" if after.ejections > 1 else ""
        self.add("ejected", name, f"{'the trial request failed' if before.trying else what}: {why}; {out}{times}")

    def checked(self, name: str, after: InstanceHealth) -> None:
        count = after.good_checks if after.well else after.bad_checks
        which = f"{count} checks in a row" if count > 1 else "one check"
        self.add("passing" if after.well else "failing", name, f"{which} {'went well' if after.well else 'failed'}")

    def next(self) -> "Events":
        return [self._kept[at] for at in range(min(AT_ONCE, len(self._kept)))]

    def done(self, events: "Events") -> None:
        """They are told, or never will be."""
        for event in events:
            if self._kept and self._kept[0] is event:  # it may have gone meanwhile
                self._kept.popleft()


class EventForwarder:
    """Sends the kept events to the registry."""

    def __init__(
        self, news: EventReporter, client: "RegistryClient", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._news = news
        self._sender = EventSender(client, clock)

    def once(self) -> None:
        """Send all kept events, as far as the registry takes them now.

        Events that it refuses are dropped, and counted.
        """
        while self._sender.is_ready and (events := self._news.next()):
            delivery = self._sender.send(events)
            if delivery is Delivery.POSTPONED:
                return
            if delivery is Delivery.REFUSED:
                self._news.dropped += len(events)
            self._news.done(events)
