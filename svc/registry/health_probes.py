"""Health checks: skip refused addresses; concurrent checks of one URL share one request (single flight)."""

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from svc.base.dial import AddressRefused
from svc.base.errors import RateLimited

log = logging.getLogger(__name__)
MAX_REQUESTED = 32  # checks by request at a time
MAX_LOGGED = 1000  # refusals that are remembered, so that each is logged once


class Probe:
    """Call it with a URL for the status of the answer, 0 without one. A refused address is logged once."""

    def __init__(self, status: Callable[[str], int]) -> None:
        self._status = status
        self._logged: set[str] = set()

    def __call__(self, url: str) -> int:
        try:
            return self._status(url)
        except AddressRefused as error:
            self._log(f"{url} is not checked, which counts as a failed check: {error}")
            return 0

    def _log(self, message: str) -> None:
        if message in self._logged:
            return
        if len(self._logged) >= MAX_LOGGED:
            self._logged.clear()
        self._logged.add(message)
        log.warning("%s", message)


class PendingProbe:
    """A health check that has not ended, and its status for the callers that wait for it."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.status = 0


class SharedProbe:
    """A probe for requests: those that check the same URL at the same time share one check."""

    def __init__(self, probe: Callable[[str], int], limit: int = MAX_REQUESTED) -> None:
        self._probe = probe
        self._limit = limit
        self._checks: dict[str, PendingProbe] = {}
        self._lock = threading.Lock()

    def __call__(self, url: str, waiting: Callable[[], AbstractContextManager[None]] = nullcontext) -> int:
        """Return the status of the answer; a caller is in the context `waiting` while another one checks the same URL.

        Raises RateLimited when `limit` other URLs are being checked.
        """
        with self._lock:
            shared = self._checks.get(url)
            if shared is None:
                if len(self._checks) >= self._limit:
                    raise RateLimited(f"{self._limit} checks by request are under way; try again in a second")
                own = self._checks[url] = PendingProbe()
        if shared is not None:
            with waiting():
                shared.done.wait()
            return shared.status
        try:
            own.status = self._probe(url)
        finally:
            with self._lock:
                del self._checks[url]
            own.done.set()
        return own.status
