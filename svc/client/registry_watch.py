"""Follow the registry's list of services as it changes."""

import dataclasses
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # not at run time: a router without a registry needs no client of one
    from svc.client.registry import RegistryClient, ServiceList

MAX_WAIT_SECONDS = 30.0  # longest wait for a change
MIN_WAIT_SECONDS = 0.1
RETRY_INTERVAL_SECONDS = 0.5  # pause after a failure
LIST_INTERVAL_SECONDS = 0.02  # pause between two lists, so that a burst of changes costs few lists


class RegistryWatch:
    """Watches the list of services: call `next_list` repeatedly, and wait `pause` seconds between two calls.

    A registry that sends no revision is polled every `interval` seconds. A registry that answers at once although
    nothing has changed is polled after ever longer pauses, of at most `interval` seconds. An unreachable registry
    is tried again after RETRY_INTERVAL_SECONDS. After a failure or a switch to another registry, `next_list` does not
    wait for a change.
    """

    def __init__(
        self, client: "RegistryClient", interval: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.client = client
        self.interval = interval
        self.clock = clock
        self.pause = 0.0
        self._last: ServiceList | None = None
        self._early_answers = 0  # answers in a row that came early although nothing had changed

    def next_list(self, max_wait: float = MAX_WAIT_SECONDS) -> "ServiceList":
        """Return the list as soon as it has changed, or after `max_wait` seconds; raise SvcError."""
        last, self._last = self._last, None
        self.pause = min(RETRY_INTERVAL_SECONDS, self.interval)  # applies if the request below raises
        wait = max(MIN_WAIT_SECONDS, min(MAX_WAIT_SECONDS, max_wait))
        sent = self.clock()
        current = self.client.list_services(last.index, wait) if last else self.client.list_services()
        duration = self.clock() - sent
        has_changed = last is None or (current.url, current.index) != (last.url, last.index)
        self._early_answers = 0 if has_changed or duration > wait / 2 else self._early_answers + 1
        self.pause = self.interval if current.index is None else self._next_pause()
        self._last = dataclasses.replace(current, entries=())
        return current

    def _next_pause(self) -> float:
        if not self._early_answers:
            return LIST_INTERVAL_SECONDS
        return min(self.interval, RETRY_INTERVAL_SECONDS * 2 ** min(self._early_answers - 1, 16))
