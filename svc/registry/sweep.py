"""Ends the leases of the silent: once a second."""

import logging
from collections.abc import Callable

from svc.registry import lease
from svc.registry.store import Store

log = logging.getLogger(__name__)
INTERVAL = 1.0  # seconds


class Sweep:
    """Marks what was not heard of for its whole lease; `since` is when this registry began to listen."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self.store = store
        self.clock = clock
        self.since = clock()

    def round(self) -> None:
        now, since = self.clock(), self.since
        _, services = self.store.snapshot()
        for service in services:
            if not service.expired and lease.lapsed(service, now, since):
                self.store.change(service.name, lambda s: s and lease.expired(s, now, since))
                log.warning("%s expired: silent since %.0f s", service.name, now - service.last_heartbeat)
