"""Run a function in rounds in the background, until the loop is stopped."""

import logging
import threading
from collections.abc import Callable

from svc.base.errors import SvcError

log = logging.getLogger(__name__)


class Loop:
    """Runs `work` in rounds in a thread (a greenlet if gevent has patched threading).

    `work` returns the seconds until the next round, or None for `interval`. If `work` raises, the exception is logged
    and the next round begins after `interval` seconds. `wake` starts the next round at once.
    """

    def __init__(self, name: str, work: Callable[[], float | None], interval: float) -> None:
        self.name = name
        self.work = work
        self.interval = interval
        self._woken = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Start the next round at once, or as soon as the current round ends."""
        self._woken.set()

    def stop(self, timeout: float = 5) -> None:
        """End the loop; wait up to `timeout` seconds for the current round to end."""
        self._stopping = True
        self._woken.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stopping:
            self._woken.clear()
            pause = self._run_round()
            if not self._stopping:
                self._woken.wait(pause)

    def _run_round(self) -> float:
        """Call `work` once, and return the seconds until the next round."""
        pause = None
        try:
            pause = self.work()
        except SvcError as error:
            log.warning("%s: %s; trying again in %s s", self.name, error.message, self.interval)
        except Exception:  # noqa: BLE001 - a failure of the work must not end the loop
            log.exception("%s: this round failed, the next is in %s s", self.name, self.interval)
        return self.interval if pause is None else pause
