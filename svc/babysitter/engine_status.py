"""Whether the engine is ready, and its models; a result is kept briefly, so that many callers cost one check."""

import dataclasses
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

Models = list[dict[str, Any]]
NO_ANSWER = "it does not answer"


@dataclasses.dataclass(frozen=True, slots=True)
class Readiness:
    """The result of one check: the engine's models when it can take requests, else the reason why it cannot.

    `misconfigured`: waiting does not make it ready; a setting has to be changed.
    """

    models: Models = dataclasses.field(default_factory=list)
    reason: str = ""
    misconfigured: bool = False


class EngineStatus:
    """Checks the engine at most once in `max_age` seconds, however many callers read its status.

    One check tries `urls` in turn, within `timeout` seconds in all, until one is ready.
    """

    def __init__(
        self,
        urls: Sequence[str],
        check: Callable[[str, float], Readiness],
        clock: Callable[[], float] = time.monotonic,
        max_age: float = 2.0,
        timeout: float = 5.0,
    ) -> None:
        self.urls = tuple(dict.fromkeys(urls))
        self.check = check
        self.clock = clock
        self.max_age = max_age
        self.timeout = timeout
        self.check_seconds: float | None = None  # how long the last check took, answered or not
        self._lock = threading.Lock()
        self._readiness = Readiness(reason=NO_ANSWER)
        self._expires = float("-inf")
        self._stale = False

    @property
    def reason(self) -> str:
        """Return why the engine was not ready at the last check; "" when it was."""
        return self._readiness.reason

    @property
    def misconfigured(self) -> bool:
        """Return whether the last check found that only a changed setting can make the engine ready."""
        return self._readiness.misconfigured and not self._stale

    def models(self) -> Models:
        """Return the models of an engine that is ready, or was within `max_age`; [] while it is not."""
        with self._lock:  # callers that come during a check wait for its result
            if self._stale or self.clock() >= self._expires:
                self._check()
            return self._readiness.models

    def check_now(self) -> Models:
        """Check the engine, whatever the age of the last result, and return its models; [] while it is not ready."""
        with self._lock:
            self._check()
            return self._readiness.models

    def invalidate(self) -> None:
        """Drop the last result, because another process runs, or none."""
        self._stale = True  # without the lock, which a check in progress holds

    def _check(self) -> None:
        self._stale, self._expires = False, float("-inf")
        began = self.clock()
        deadline = began + self.timeout
        readiness = Readiness(reason=NO_ANSWER)
        for url in self.urls:
            remaining = deadline - self.clock()
            if readiness.models or remaining <= 0:
                break
            result = self.check(url, remaining)
            if result.models or readiness.reason == NO_ANSWER:  # the reason of a URL that answers says more
                readiness = result
        self._readiness = readiness
        self.check_seconds = self.clock() - began
        self._expires = self.clock() + self.max_age
