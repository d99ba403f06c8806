"""Forgets the services that have long been silent."""

import logging
from collections.abc import Callable

from svc.protocol.service import Service
from svc.registry.leases import lease
from svc.registry.store.base import Store

FORGOTTEN = "it was silent for so long that it is forgotten"
log = logging.getLogger(__name__)


class Cleanup:
    """`forget_after` is in seconds after a lease's end, `since` when this registry began to listen.

    `observe` is called for each that goes.
    """

    def __init__(
        self,
        store: Store,
        forget_after: float,
        clock: Callable[[], float],
        since: Callable[[], float],
        observe: Callable[[], object],
    ) -> None:
        self.store = store
        self.forget_after = forget_after
        self.clock = clock
        self.observe = observe
        self.since = since

    def round(self) -> None:
        _, services = self.store.snapshot()
        for service in services:
            if self._forgettable(service) and self.store.remove(service.name, self._forgettable, FORGOTTEN):
                self.observe()
                log.info("%s forgotten: silent since %.0f s", service.name, self.clock() - service.last_heartbeat)

    def _forgettable(self, service: Service) -> bool:
        return lease.forgettable(service, self.clock(), self.forget_after, self.since())
