"""Two background loops: one ends the leases of silent services, one removes services that expired long ago."""

import logging
import threading
from collections.abc import Callable

from svc.base.errors import Unavailable
from svc.protocol.service import Service
from svc.registry.leases import lease
from svc.registry.leases.expiry import MAX_ROUND_GAP_SECONDS, LeaseExpiry
from svc.registry.registry_health import RegistryHealth
from svc.registry.store.contract import Store

log = logging.getLogger(__name__)
SWEEP_INTERVAL_SECONDS = 1.0
REMOVAL_REASON = "it was silent for so long that it is forgotten"


class LeaseSweep:
    """Ends the leases that LeaseExpiry selects, and calls `count_expiry` for each.

    A round does nothing while the store fails, because the registry then accepts no heartbeats. Once the store works
    again, all leases start anew.
    """

    def __init__(
        self, store: Store, clock: Callable[[], float], count_expiry: Callable[[], object] = lambda: None
    ) -> None:
        self.store = store
        self.clock = clock
        self.count_expiry = count_expiry
        self.health = RegistryHealth(store)
        self.expiry = LeaseExpiry(clock())
        self._lock = threading.Lock()  # guards `expiry`: an operator's request may arrive during a round

    def listening_since(self) -> float:
        """Return when this registry began to listen for heartbeats."""
        return self.expiry.listening_since

    def run_round(self) -> None:
        try:
            if self.health.is_store_usable():
                self._sweep()
        except Unavailable as error:
            self.health.record_store_failure(error.message)

    def end_kept_leases(self) -> list[str]:
        """End the kept leases on an operator's request, and return the names of their services.

        Raise Unavailable if the store fails.
        """
        with self._lock:
            self.expiry.allow_endings(self.clock())
        return self._sweep()

    def _sweep(self) -> list[str]:
        with self._lock:
            _, services = self.store.snapshot()
            now = self.clock()
            decision = self.expiry.decide(services, now)
            for service in services:
                if service.last_heartbeat > now + MAX_ROUND_GAP_SECONDS:  # written while the clock was ahead
                    self.store.change(service.name, lambda s: s and lease.limit_heartbeat_to_now(s, now))
            ended = [s.name for s in decision.ending if self._end(s, now)]
            self.health.record_kept_leases(len(decision.kept), decision.live)
            return ended

    def _end(self, service: Service, now: float) -> bool:
        was_expired = False

        def expire(current: Service | None) -> Service | None:
            nonlocal was_expired
            was_expired = current is not None and current.expired
            return current and lease.expire_if_lapsed(current, now, self.listening_since())

        after = self.store.change(service.name, expire)
        if after is None or not after.expired or was_expired:
            return False  # a heartbeat arrived meanwhile, or another registry with this store has ended the lease
        self.count_expiry()
        log.warning("%s expired: silent since %.0f s", service.name, now - service.last_heartbeat)
        return True


class ServiceCleanup:
    """Removes services that expired more than `forget_after` seconds ago, and calls `count_removal` for each.

    `listening_since` returns when this registry began to listen for heartbeats.
    """

    def __init__(
        self,
        store: Store,
        forget_after: float,
        clock: Callable[[], float],
        listening_since: Callable[[], float],
        count_removal: Callable[[], object],
    ) -> None:
        self.store = store
        self.forget_after = forget_after
        self.clock = clock
        self.count_removal = count_removal
        self.listening_since = listening_since

    def run_round(self) -> None:
        _, services = self.store.snapshot()
        for service in services:
            if self._is_forgettable(service) and self.store.remove(service.name, self._is_forgettable, REMOVAL_REASON):
                self.count_removal()
                log.info("%s forgotten: silent since %.0f s", service.name, self.clock() - service.last_heartbeat)

    def _is_forgettable(self, service: Service) -> bool:
        return lease.is_forgettable(service, self.clock(), self.forget_after, self.listening_since())
