"""What the instance says of itself."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from svc import probe

Models = list[dict[str, Any]]


class Answers:
    """The instance's models, asked for at most once in `keep` seconds, however many want to know.

    `urls` are tried in turn, `timeout` seconds in all. No models: it does not answer.
    """

    def __init__(
        self,
        urls: Sequence[str],
        ask: Callable[[Sequence[str], float], Models] = probe.models,
        clock: Callable[[], float] = time.monotonic,
        keep: float = 2.0,
        timeout: float = 5.0,
    ) -> None:
        self.urls = tuple(dict.fromkeys(urls))
        self.ask = ask
        self.clock = clock
        self.keep = keep
        self.timeout = timeout
        self.took: float | None = None  # seconds that the last question took, answered or not
        self._lock = threading.Lock()
        self._models: Models = []
        self._until = float("-inf")
        self._stale = False

    def models(self) -> Models:
        """What it says, or said just now."""
        with self._lock:  # those who come while it is being asked wait for that answer
            if self._stale or self.clock() >= self._until:
                self._renew()
            return self._models

    def fresh(self) -> Models:
        """What it says now."""
        with self._lock:
            self._renew()
            return self._models

    def forget(self) -> None:
        """What was said is no longer true: another process, or none."""
        self._stale = True  # no lock: it may come while the instance is being asked

    def _renew(self) -> None:
        self._stale, self._models, self._until = False, [], float("-inf")
        began = self.clock()
        ends = began + self.timeout
        for url in self.urls:
            left = ends - self.clock()
            if self._models or left <= 0:
                break
            self._models = self.ask([url], left)
        self.took = self.clock() - began
        self._until = self.clock() + self.keep
