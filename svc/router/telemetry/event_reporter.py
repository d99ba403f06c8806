"""The events that the router reports to the registry, such as ejections. A loop sends them: no request waits."""

import re
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from svc.client.event_sender import Delivery, EventSender
from svc.router.balance.ejection import InstanceHealth

if TYPE_CHECKING:  # the worker imports this module before gevent has patched the modules that the client uses
    from svc.client.registry import Events, RegistryClient

MAX_KEPT_EVENTS = 500  # unsent events; above this number, the oldest ones are dropped
MAX_EVENTS_PER_REQUEST = 100
MAX_HOST_CHARS = 100
SEND_INTERVAL_SECONDS = 1.0  # longest time between two checks for new events; each new event wakes the loop


class EventReporter:
    """The router's unsent events, which are kept until `EventForwarder` has sent them."""

    def __init__(self, port: int) -> None:
        self.dropped = 0  # the number of events dropped since the start
        self.on_added: Callable[[], object] = lambda: None  # called for each new event
        self._kept: deque[dict[str, str]] = deque()
        host = re.sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname())[:MAX_HOST_CHARS]
        self.source = f"router-{host}-{port}"  # distinguishes several routers

    def add(self, kind: str, name: str, message: str = "") -> None:
        if len(self._kept) >= MAX_KEPT_EVENTS:
            self._kept.popleft()
            self.dropped += 1
        self._kept.append({"kind": kind, "service": name, "source": self.source, "message": message})
        self.on_added()

    def ejected(self, name: str, after: InstanceHealth, reason: str, seconds: float) -> None:
        """Add the event that an instance was ejected for `seconds`."""
        repeated = f", {after.ejections} times in a row" if after.ejections > 1 else ""
        self.add("ejected", name, f"{reason}; nothing new for {seconds:.0f} s{repeated}")

    def checked(self, name: str, after: InstanceHealth) -> None:
        """Add the event that the health checks of an instance have begun to pass, or to fail."""
        count = after.passed_checks if after.healthy else after.failed_checks
        checks = f"{count} checks in a row" if count > 1 else "one check"
        kind, result = ("passing", "went well") if after.healthy else ("failing", "failed")
        self.add(kind, name, f"{checks} {result}")

    def next_batch(self) -> "Events":
        """Return the oldest events, at most as many as one request may contain."""
        return [self._kept[index] for index in range(min(MAX_EVENTS_PER_REQUEST, len(self._kept)))]

    def discard(self, events: "Events") -> None:
        """Drop the events of a batch that was sent or refused."""
        for event in events:
            if self._kept and self._kept[0] is event:  # the event may have been dropped meanwhile
                self._kept.popleft()


class EventForwarder:
    """The job that sends the kept events to the registry. Call `run_round` again and again."""

    def __init__(
        self, reporter: EventReporter, client: "RegistryClient", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._reporter = reporter
        self._sender = EventSender(client, clock)

    def run_round(self) -> None:
        """Send the kept events until none is left, or the registry cannot take more now.

        Events that the registry refuses are dropped and counted in `EventReporter.dropped`.
        """
        while self._sender.is_ready and (events := self._reporter.next_batch()):
            delivery = self._sender.send(events)
            if delivery is Delivery.POSTPONED:
                return
            if delivery is Delivery.REFUSED:
                self._reporter.dropped += len(events)
            self._reporter.discard(events)
