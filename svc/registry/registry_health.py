"""The health of the registry itself, which /health and the metrics report."""

import logging

from svc.registry.store.contract import Store

log = logging.getLogger(__name__)
HEALTHY, DEGRADED, STORE_FAILING = "healthy", "degraded", "failing"
SUCCESSES_TO_RECOVER = 3  # successful checks in a row after which a store that failed is used again
STORE_TROUBLE = "the store has a problem; read the registry's log, or GET /health with its token"
KEPT_LEASES = (
    "{} of {} services were not heard of for their whole lease, more than are believed to fail at once: they are "
    "kept; look at the network between here and them, or end their leases with `svc services expire`"
)


class RegistryHealth:
    """The status of the registry: `healthy`, `degraded` or `failing`.

    It is `failing` while the store cannot be used. It is `degraded` in three cases.

    1. Leases are kept beyond their end.
    2. The store cannot be written, and returns an older copy of the list.
    3. The store has renamed a corrupt file, and the operator has not moved that file away.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.failure = ""  # why the store cannot be used; "" if it can
        self.kept_leases = ""  # why leases are kept beyond their end; "" if no lease is
        self._successes = 0
        self._status_of_failure = STORE_FAILING
        self._was_checked = False

    def status(self, detailed: bool = True) -> tuple[str, str]:
        """Return the status and its reason, which shows the store's path or address only if `detailed` is true."""
        if self.failure:
            reason = (self.store.degradation() or self.failure) if detailed else STORE_TROUBLE
            return self._status_of_failure, reason
        problems = [self.store.degradation(), self.store.past_incident()]
        if not detailed:
            problems = [STORE_TROUBLE] if any(problems) else []
        reason = "; ".join(filter(None, (self.kept_leases, *problems)))
        return (DEGRADED, reason) if reason else (HEALTHY, "")

    def record_store_failure(self, reason: str) -> None:
        self._successes = 0
        if not self.failure:
            log.error("%s", reason)
            self._status_of_failure = DEGRADED if self.store.degradation() else STORE_FAILING
        self.failure = reason

    def is_store_usable(self) -> bool:
        """Return whether the store can be used.

        At the start and after a failure, check the store first, and raise Unavailable if the check fails. After a
        failure, return True only after SUCCESSES_TO_RECOVER successful checks.
        """
        if self.failure or self.store.degradation() or not self._was_checked:
            self.store.check()
            self._was_checked = True
        if self.failure:
            self._successes += 1
            if self._successes >= SUCCESSES_TO_RECOVER:
                log.info("the store can be used again")
                self.failure = ""
        return not self.failure

    def record_kept_leases(self, kept: int, live: int) -> None:
        """Record that `kept` of the `live` leases are kept beyond their end; log when that begins and when it ends."""
        reason = KEPT_LEASES.format(kept, live) if kept else ""
        if bool(reason) != bool(self.kept_leases):
            log.warning("%s", reason or "no lease is kept beyond its end any more")
        self.kept_leases = reason
