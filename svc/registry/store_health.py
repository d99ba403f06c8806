"""How the registry itself is: what /health and the metrics tell of it."""

import logging

from svc.registry.store.base import Store

log = logging.getLogger(__name__)
HEALTHY, DEGRADED, FAILING = "healthy", "degraded", "failing"
CALM = 3  # looks in a row without a failure until a store that failed is trusted again


class Condition:
    """Failing while the store cannot be used.

    Degraded while leases are kept beyond their end, or the store has news: it
    may still know the list, though nothing can be written, or has begun anew.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.trouble = ""  # why the store cannot be used
        self.kept = ""  # why leases are kept
        self._calm = 0
        self._failing = FAILING
        self._proven = False

    def told(self, detailed: bool = True) -> tuple[str, str]:
        """The status and its reason; without details, what a store says of paths and addresses is left out."""
        if self.trouble:
            return self._failing, (self.store.notice() or self.trouble) if detailed else STORE_TROUBLE
        news = [self.store.notice(), self.store.history()]
        if not detailed:
            news = [STORE_TROUBLE] if any(news) else []
        reason = "; ".join(filter(None, (self.kept, *news)))
        return (DEGRADED, reason) if reason else (HEALTHY, "")

    def failed(self, reason: str) -> None:
        self._calm = 0
        if not self.trouble:
            log.error("%s", reason)
            self._failing = DEGRADED if self.store.notice() else FAILING
        self.trouble = reason

    def well(self) -> bool:
        """Whether the store can be used, tried at the start and where it could not. Raises Unavailable."""
        if self.trouble or self.store.notice() or not self._proven:
            self.store.check()
            self._proven = True
        if self.trouble:
            self._calm += 1
            if self._calm >= CALM:
                log.info("the store can be used again")
                self.trouble = ""
        return not self.trouble

    def keep(self, kept: int, live: int) -> None:
        """Notes how many of the live are kept; says so when that begins and when it is over."""
        told = KEPT.format(kept, live) if kept else ""
        if bool(told) != bool(self.kept):
            log.warning("%s", told or "no lease is kept beyond its end any more")
        self.kept = told


STORE_TROUBLE = "the store has a problem; read the registry's log, or GET /health with its token"
KEPT = (
    "{} of {} services were not heard of for their whole lease, more than are believed to fail at once: they are "
    "kept; look at the network between here and them, or end their leases with `svc services expire`"
)
