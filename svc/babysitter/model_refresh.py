"""Refresh the model list on demand; concurrent callers share one request (single flight)."""

import threading
import time
from collections.abc import Callable

from svc.base.errors import RateLimited

MAX_WAITING_CALLERS = 16
REFRESH_INTERVAL_SECONDS = 1.0  # minimum time between the starts of two refreshes, because any client may request them


class ModelRefresh:
    """A callable that refreshes the model list; a call returns at the end of a refresh that began after the call.

    Callers that wait at the same time share one refresh. Two refreshes begin at least `interval` seconds apart.
    If MAX_WAITING_CALLERS wait already, a call raises RateLimited, because each waiting caller keeps a connection open.
    """

    def __init__(
        self,
        refresh: Callable[[], object],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
        interval: float = REFRESH_INTERVAL_SECONDS,
    ) -> None:
        self._refresh = refresh
        self._clock = clock
        self._sleep = sleep
        self._interval = interval
        self._lock = threading.Lock()
        self._places = threading.Semaphore(MAX_WAITING_CALLERS)
        self._began = float("-inf")  # when the last refresh began

    def __call__(self) -> None:
        if not self._places.acquire(blocking=False):
            raise RateLimited(f"{MAX_WAITING_CALLERS} callers wait for the model list already; try again in a second")
        try:
            self._wait_for_refresh()
        finally:
            self._places.release()

    def _wait_for_refresh(self) -> None:
        arrival = self._clock()
        with self._lock:
            if self._began > arrival:
                return  # a refresh began and ended while this call waited for the lock
            pause = self._began + self._interval - self._clock()
            if pause > 0:
                self._sleep(pause)
            self._began = self._clock()
            self._refresh()
