"""Ends the leases of the silent: once a second."""

import logging
import threading
from collections.abc import Callable

from svc.base.errors import Unavailable
from svc.protocol.service import Service
from svc.registry.leases import lease
from svc.registry.leases.expiry import GAP, Expiry
from svc.registry.store.base import Store
from svc.registry.store_health import Condition

log = logging.getLogger(__name__)
INTERVAL = 1.0  # seconds


class Sweep:
    """Does what Expiry says; `observe` is called for each lease that ends.

    It looks at nothing while the store fails: heartbeats are not taken then,
    and leases begin anew after.
    """

    def __init__(self, store: Store, clock: Callable[[], float], observe: Callable[[], object] = lambda: None) -> None:
        self.store = store
        self.clock = clock
        self.observe = observe
        self.condition = Condition(store)
        self.expiry = Expiry(clock())
        self._lock = threading.Lock()  # the round and an operator's word

    def since(self) -> float:
        """When this registry began to listen."""
        return self.expiry.since

    def round(self) -> None:
        try:
            if self.condition.well():
                self._round()
        except Unavailable as error:
            self.condition.failed(error.message)

    def release(self) -> list[str]:
        """Ends the leases that were kept, at an operator's word; their names. Raises Unavailable."""
        with self._lock:
            self.expiry.release(self.clock())
        return self._round()

    def _round(self) -> list[str]:
        with self._lock:
            _, services = self.store.snapshot()
            now = self.clock()
            verdict = self.expiry.judge(services, now)
            for service in services:
                if service.last_heartbeat > now + GAP:  # heard of by a clock that was ahead
                    self.store.change(service.name, lambda s: s and lease.brought_back(s, now))
            ended = [s.name for s in verdict.ending if self._end(s, now)]
            self.condition.keep(len(verdict.kept), verdict.live)
            return ended

    def _end(self, service: Service, now: float) -> bool:
        after = self.store.change(service.name, lambda s: s and lease.expired(s, now, self.since()))
        if after is None or not after.expired:
            return False  # heard of at the last moment
        self.observe()
        log.warning("%s expired: silent since %.0f s", service.name, now - service.last_heartbeat)
        return True
