"""What the engine says of itself, kept for a moment so that many readers cost it one check."""

import dataclasses
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

Models = list[dict[str, Any]]
NO_ANSWER = "it does not answer"


@dataclasses.dataclass(frozen=True, slots=True)
class Readiness:
    """What one check of an engine has found: its models when it can take requests, else the reason why it cannot.

    `misconfigured`: waiting does not make it ready; a setting has to be changed.
    """

    models: Models = dataclasses.field(default_factory=list)
    reason: str = ""
    misconfigured: bool = False


class Answers:
    """The engine's readiness, checked at most once in `keep` seconds, however many want to know.

    `urls` are checked in turn, `timeout` seconds in all, until one is ready.
    """

    def __init__(
        self,
        urls: Sequence[str],
        check: Callable[[str, float], Readiness],
        clock: Callable[[], float] = time.monotonic,
        keep: float = 2.0,
        timeout: float = 5.0,
    ) -> None:
        self.urls = tuple(dict.fromkeys(urls))
        self.check = check
        self.clock = clock
        self.keep = keep
        self.timeout = timeout
        self.took: float | None = None  # seconds that the last check took, answered or not
        self._lock = threading.Lock()
        self._readiness = Readiness(reason=NO_ANSWER)
        self._until = float("-inf")
        self._stale = False

    @property
    def reason(self) -> str:
        """Why the engine was not ready when it was last checked; empty when it was."""
        return self._readiness.reason

    @property
    def misconfigured(self) -> bool:
        """Whether it can become ready only by a change of a setting, as far as the last check tells."""
        return self._readiness.misconfigured and not self._stale

    def models(self) -> Models:
        """The models of an engine that is ready, or was just now; [] while it is not."""
        with self._lock:  # those who come during a check wait for its result
            if self._stale or self.clock() >= self._until:
                self._renew()
            return self._readiness.models

    def fresh(self) -> Models:
        """The models of an engine that is ready now; [] while it is not."""
        with self._lock:
            self._renew()
            return self._readiness.models

    def forget(self) -> None:
        """Drop the last result: another process runs, or none."""
        self._stale = True  # no lock: it may come during a check

    def _renew(self) -> None:
        self._stale, self._until = False, float("-inf")
        began = self.clock()
        ends = began + self.timeout
        readiness = Readiness(reason=NO_ANSWER)
        for url in self.urls:
            left = ends - self.clock()
            if readiness.models or left <= 0:
                break
            result = self.check(url, left)
            if result.models or readiness.reason == NO_ANSWER:  # the reason of a URL that answers says more
                readiness = result
        self._readiness = readiness
        self.took = self.clock() - began
        self._until = self.clock() + self.keep
