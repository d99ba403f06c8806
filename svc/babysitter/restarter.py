"""Have supervisord restart an instance that hangs, starts too slowly or uses too much memory; report each restart.

supervisord limits the number of restarts and delays each one: see svc/supervision/restart_limits.py.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable

from svc.babysitter.instance_watch import ProcessSnapshot
from svc.base.errors import SvcError
from svc.client.event_sender import Delivery, EventSender
from svc.client.registry import RegistryClient

log = logging.getLogger(__name__)
KINDS = ("hung", "startup", "memory")


class Restarter:
    """Requests restarts of one instance from its supervisor.

    `end_process` ends a process as a crash would, so that supervisord restarts it. It is None without a supervisor.
    """

    def __init__(self, name: str, end_process: Callable[[int, str], bool] | None) -> None:
        self.name = name
        self.end_process = end_process
        self.counts: Counter[str] = Counter()  # number of requested restarts for each kind
        self._last_message_key = ""

    def restart(self, process: ProcessSnapshot, kind: str, why: str) -> None:
        """Request the restart of a process. Further calls for the same process do nothing.

        If supervisord does not answer, the next call repeats the request.
        """
        reason = f"{kind}: {why}"
        if self.end_process is None:
            return self._log(f"{process.since} {kind}", reason + "; nothing supervises it here: restart it yourself")
        if self._last_message_key == f"{process.pid} ended":
            return None
        try:
            ended = self.end_process(process.pid, reason)
        except SvcError as error:
            return self._log(f"{process.pid} {error.message}", f"{reason}; cannot restart it: {error.message}")
        if ended:
            self.counts[kind] += 1
            self._log(f"{process.pid} ended", f"restarting it: {reason}")
        return None

    def _log(self, key: str, message: str) -> None:
        """Log a message, unless the previous message had the same key."""
        if key != self._last_message_key:
            log.warning("%s: %s", self.name, message)
        self._last_message_key = key


class RestartReporter:
    """Reports restarts of the instance to the registry as events.

    Restarts before the first snapshot are not reported, because they happened before this babysitter started.
    """

    def __init__(self, client: RegistryClient, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._sender = EventSender(client, clock)
        self._name = name
        self._reported: int | None = None  # number of restarts already reported

    def run_round(self, process: ProcessSnapshot | None) -> None:
        """Report the restarts since the last round; if the registry is unreachable, report them in a later round."""
        if process is None or not self._sender.is_ready:
            return
        before, now = self._reported, process.restarts
        if before is None or now <= before:
            self._reported = now
            return
        times = f", {now - before} times" if now - before > 1 else ""
        message = (process.reason or "its process ended") + times
        event = {"kind": "restarted", "service": self._name, "source": "babysitter", "message": message}
        if self._sender.send([event]) is not Delivery.POSTPONED:
            self._reported = now
