"""A piece of work repeated in the background, until it is stopped."""

import logging
import threading
from collections.abc import Callable

from svc.base.errors import SvcError

log = logging.getLogger(__name__)


class Loop:
    """Calls `work` every `interval` seconds in a thread (a greenlet where gevent has patched).

    What the work raises is logged and the loop goes on. `poke` makes the next
    round come at once.
    """

    def __init__(self, name: str, work: Callable[[], object], interval: float) -> None:
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
        self._wake.set()

    def stop(self, timeout: float = 5) -> None:
        """Ends the loop; waits up to `timeout` seconds for the round that is running."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                self.work()
            except SvcError as error:
                log.warning("%s: %s; trying again in %s s", self.name, error.message, self.interval)
            except Exception:  # noqa: BLE001 - a loop outlives its work
                log.exception("%s: this round failed, the next is in %s s", self.name, self.interval)
            if not self._stopping:
                self._wake.wait(self.interval)
