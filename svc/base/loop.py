"""Run a function repeatedly in the background until it is stopped."""

import logging
import threading
from collections.abc import Callable

from svc.base.errors import SvcError

log = logging.getLogger(__name__)


class Loop:
    """Runs `work` repeatedly in a thread (a greenlet if gevent has patched threading).

    `work` returns the seconds until its next run, or None for `interval`. If it raises, the exception is logged and
    the next run is after `interval`. `poke` starts the next run at once.
    """

    def __init__(self, name: str, work: Callable[[], float | None], interval: float) -> None:
        self.name = name
        self.work = work
        self.interval = interval
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    def poke(self) -> None:
        """Start the next run at once, or as soon as the current run ends."""
        self._wake.set()

    def stop(self, timeout: float = 5) -> None:
        """End the loop; wait up to `timeout` seconds for the current run to end."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            pause = self._run_once()
            if not self._stopping:
                self._wake.wait(pause)

    def _run_once(self) -> float:
        """Run `work` once, and return the seconds until the next run."""
        pause = None
        try:
            pause = self.work()
        except SvcError as error:
            log.warning("%s: %s; trying again in %s s", self.name, error.message, self.interval)
        except Exception:  # noqa: BLE001 - a failure of the work must not end the loop
            log.exception("%s: this round failed, the next is in %s s", self.name, self.interval)
        return self.interval if pause is None else pause
