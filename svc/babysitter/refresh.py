"""A look at the model list on demand, shared by all callers that wait for one."""

import threading
import time
from collections.abc import Callable

REFRESH_INTERVAL_SECONDS = 1.0  # between two looks: any client of the babysitter may ask for one


class Refresh:
    """Call it to look: it returns once a look that began after the call is over.

    Callers that wait at the same time share one look. A second look begins `interval` seconds
    after the first at the earliest.
    """

    def __init__(
        self,
        look: Callable[[], object],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
        interval: float = REFRESH_INTERVAL_SECONDS,
    ) -> None:
        self._look = look
        self._clock = clock
        self._sleep = sleep
        self._interval = interval
        self._lock = threading.Lock()
        self._began = float("-inf")  # of the last look

    def __call__(self) -> None:
        arrival = self._clock()
        with self._lock:
            if self._began > arrival:
                return  # it began while this call waited for the lock, and is over
            pause = self._began + self._interval - self._clock()
            if pause > 0:
                self._sleep(pause)
            self._began = self._clock()
            self._look()
