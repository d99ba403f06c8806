"""The readiness of the engine and its models, cached briefly so that many callers share one check."""

import dataclasses
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

Models = list[dict[str, Any]]
NO_ANSWER = "it does not answer"


@dataclasses.dataclass(frozen=True, slots=True)
class Readiness:
    """The result of one check: the engine's models if it is ready for requests, else the reason why it is not.

    `misconfigured` means that the engine becomes ready only after a setting has been changed, and `sleeping` that it
    becomes ready only when it is woken.
    """

    models: Models = dataclasses.field(default_factory=list)
    reason: str = ""
    misconfigured: bool = False
    sleeping: bool = False


class EngineStatus:
    """The cached status of the engine, checked at most once in `max_age` seconds.

    One check tries `urls` one after the other until one is ready, for at most `timeout` seconds in all.
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
        self.check_seconds: float | None = None  # duration of the last check, even if the engine did not answer
        self._lock = threading.Lock()
        self._readiness = Readiness(reason=NO_ANSWER)
        self._expires = float("-inf")
        self._stale = False

    @property
    def reason(self) -> str:
        """Return why the engine was not ready at the last check, or "" if it was."""
        return self._readiness.reason

    @property
    def misconfigured(self) -> bool:
        """Return whether the last check found that a setting must be changed before the engine can become ready."""
        return self._readiness.misconfigured and not self._stale

    @property
    def sleeping(self) -> bool:
        """Return whether the last check found that the engine sleeps."""
        return self._readiness.sleeping and not self._stale

    def models(self) -> Models:
        """Return the engine's models; [] if it is not ready. A check older than `max_age` is repeated first."""
        with self._lock:  # callers that arrive during a check wait for its result
            if self._stale or self.clock() >= self._expires:
                self._check()
            return self._readiness.models

    def check_now(self) -> Models:
        """Check the engine now, even if the last result is recent, and return its models; [] if it is not ready."""
        with self._lock:
            self._check()
            return self._readiness.models

    def invalidate(self) -> None:
        """Drop the last result, because the process of the engine was replaced or has ended."""
        self._stale = True  # set without the lock, because a check in progress holds the lock

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
            if result.models or readiness.reason == NO_ANSWER:  # any other reason is more useful than NO_ANSWER
                readiness = result
        self._readiness = readiness
        self.check_seconds = self.clock() - began
        self._expires = self.clock() + self.max_age
