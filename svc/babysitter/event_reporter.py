"""Restarts, told to the registry as events."""

import time
from collections.abc import Callable

from svc.babysitter.instance_watch import Sighting
from svc.client.event_sender import Delivery, EventSender
from svc.client.registry import RegistryClient


class News:
    """Counts from what it sees first: that this babysitter begins is no restart of its instance."""

    def __init__(self, client: RegistryClient, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._sender = EventSender(client, clock)
        self._name = name
        self._told: int | None = None

    def round(self, sighting: Sighting | None) -> None:
        """Tells how often it was restarted since the last time; while the registry is away, later."""
        if sighting is None or not self._sender.is_ready:
            return
        before, now = self._told, sighting.restarts
        if before is None or now <= before:
            self._told = now
            return
        times = f", {now - before} times" if now - before > 1 else ""
        told = {"kind": "restarted", "service": self._name, "source": "babysitter"}
        event = {**told, "message": (sighting.reason or "its process ended") + times}
        if self._sender.send([event]) is Delivery.POSTPONED:
            return
        self._told = now
