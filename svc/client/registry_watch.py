"""The registry's list, followed as it changes."""

import dataclasses
import time
from collections.abc import Callable

from svc.client.registry import Listing, RegistryClient

WAIT = 30.0  # seconds that the registry may keep us waiting
LEAST_WAIT = 0.1
AWAY_PAUSE = 0.5  # seconds until the next try, after one that failed
PAUSE = 0.02  # seconds between two lists: of changes that come in a burst, some share one


class Watch:
    """Call `look` again and again, `pause` seconds after each: it returns as soon as there is something new.

    A registry that tells no revision is asked every `interval` seconds; so, in the
    end, is one that answers at once although nothing is new. One that cannot be
    reached is tried every AWAY_PAUSE. After a failure, and at another registry, the
    list comes at once.
    """

    def __init__(
        self, client: RegistryClient, interval: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.client = client
        self.interval = interval
        self.clock = clock
        self.pause = 0.0
        self._last: Listing | None = None
        self._idle = 0  # answers in a row that came too soon

    def look(self, most: float = WAIT) -> Listing:
        """The list, after `most` seconds at the latest; raises SvcError."""
        last, self._last = self._last, None
        self.pause = min(AWAY_PAUSE, self.interval)  # should this raise
        wait = max(LEAST_WAIT, min(WAIT, most))
        began = self.clock()
        found = self.client.listing(last.index, wait) if last else self.client.listing()
        took = self.clock() - began
        new = last is None or (found.url, found.index) != (last.url, last.index)
        self._idle = 0 if new or took > wait / 2 else self._idle + 1
        self.pause = self.interval if found.index is None else self._pause()
        self._last = dataclasses.replace(found, entries=())
        return found

    def _pause(self) -> float:
        return min(self.interval, AWAY_PAUSE * 2 ** min(self._idle - 1, 16)) if self._idle else PAUSE
