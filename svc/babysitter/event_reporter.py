"""Restarts, told to the registry as events."""

import logging
import time
from collections.abc import Callable

from svc.babysitter.instance_watch import Sighting
from svc.base.errors import RateLimited, SvcError, Unavailable
from svc.client.registry import RegistryClient

log = logging.getLogger(__name__)


class News:
    """Counts from what it sees first: that this babysitter begins is no restart of its instance."""

    def __init__(self, client: RegistryClient, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._resumes = float("-inf")  # when the registry takes events again
        self._name = name
        self._told: int | None = None
        self._refused = False

    def round(self, sighting: Sighting | None) -> None:
        """Tells how often it was restarted since the last time; while the registry is away, later."""
        if sighting is None or self._clock() < self._resumes:
            return
        before, now = self._told, sighting.restarts
        if before is None or now <= before:
            self._told = now
            return
        times = f", {now - before} times" if now - before > 1 else ""
        told = {"kind": "restarted", "service": self._name, "source": "babysitter"}
        try:
            self._client.tell([{**told, "message": (sighting.reason or "its process ended") + times}])
        except Unavailable:
            return
        except RateLimited as error:
            self._resumes = self._clock() + error.retry_after
            return
        except SvcError as error:  # an older registry knows no events
            if not self._refused:
                log.warning("the registry takes no events: %s", error)
            self._refused = True
        self._told = now
