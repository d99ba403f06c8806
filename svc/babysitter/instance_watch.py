"""Watch the process of the instance: through supervisord, or by its port if supervisord does not run it."""

import dataclasses
import logging
import socket
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from svc.babysitter.lifecycle import LifecycleEvent
from svc.base.errors import SvcError
from svc.supervision.client import SupervisordClient

log = logging.getLogger(__name__)

PORT_REFUSED = "its port refused connections"  # the only known reason for an exit without supervisord
CONNECT_TIMEOUT_SECONDS = 2.0

# FATAL does not always mean a failure: at its shutdown, supervisord also changes BACKOFF to FATAL.
SUPERVISORD_STATES = {
    "STARTING": LifecycleEvent.SPAWNED,
    "RUNNING": LifecycleEvent.SPAWNED,
    "EXITED": LifecycleEvent.EXITED,
    "BACKOFF": LifecycleEvent.EXITED,
    "FATAL": LifecycleEvent.EXITED,
    "UNKNOWN": LifecycleEvent.EXITED,
    "STOPPING": LifecycleEvent.STOPPING,
    "STOPPED": LifecycleEvent.STOPPED,
}


@dataclasses.dataclass(frozen=True, slots=True)
class ProcessSnapshot:
    """The instance's process at one moment."""

    state: str  # the state in supervisord, such as RUNNING
    pid: int = 0  # 0: unknown
    since: float = 0.0  # start of the process, in Unix seconds
    restarts: int = 0
    failed: bool = False  # whether supervisord has given the program up, because the limit of restarts is reached
    reason: str = ""  # why the last process ended, if known

    def event(self) -> LifecycleEvent:
        """Return the event that led to this state."""
        return LifecycleEvent.GAVE_UP if self.state == "FATAL" and self.failed else SUPERVISORD_STATES[self.state]


def event_between(before: ProcessSnapshot | None, now: ProcessSnapshot) -> LifecycleEvent | None:
    """Return the event that led from `before` to `now`; None if both have the same process in the same state."""
    if before is not None and (before.event(), before.pid) == (now.event(), now.pid):
        return None
    return now.event()


class InstanceWatch(Protocol):
    def poll(self) -> ProcessSnapshot | None:
        """Return a snapshot of the process; None if its state cannot be determined."""


class SupervisordWatch:
    """Polls supervisord over RPC, and requests the restart count only if the process has changed or does not run."""

    def __init__(self, supervisord: SupervisordClient, program: str) -> None:
        self.supervisord = supervisord
        self.program = program
        self._identity: tuple[str, int, int] | None = None  # state, pid and start of the last process
        self._snapshot: ProcessSnapshot | None = None
        self._reachable = True

    def poll(self) -> ProcessSnapshot | None:
        try:
            snapshot = self._request()
        except SvcError as error:
            if self._reachable:
                log.warning("cannot see %s: %s", self.program, error.message)
            self._reachable = False
            return None
        if not self._reachable:
            log.info("%s is seen again", self.program)
        self._reachable = True
        return snapshot

    def _request(self) -> ProcessSnapshot:
        process = self.supervisord.process(self.program)
        identity = (process.state, process.pid, process.start)
        if self._snapshot is None or identity != self._identity or process.state != "RUNNING":
            count = self.supervisord.restarts().get(self.program)
            restarts = (count.restarts, count.failed, count.reason) if count else ()
            self._snapshot = ProcessSnapshot(process.state, process.pid, process.start, *restarts)
            self._identity = identity
        return self._snapshot


class PortWatch:
    """Polls the instance's port: the instance runs if it accepts a connection, and has ended if it refuses one.

    If the connection times out, the state of the instance is unknown, because its backlog may be full.
    """

    def __init__(
        self,
        addresses: Sequence[tuple[str, int]],
        connect: Callable[[tuple[str, int]], bool | None] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.addresses = addresses
        self.connect = connect or accepts_connection
        self.clock = clock
        self._snapshot: ProcessSnapshot | None = None
        self._starts = 0

    def poll(self) -> ProcessSnapshot | None:
        runs = self._runs()
        if runs is None:
            return None
        state = "RUNNING" if runs else "EXITED"
        if self._snapshot is None or self._snapshot.state != state:
            reason = PORT_REFUSED if self._starts else ""  # "" until it has run once: no process has ended yet
            self._starts += runs
            since = self.clock() if runs else 0.0
            self._snapshot = ProcessSnapshot(state, since=since, restarts=max(0, self._starts - 1), reason=reason)
        return self._snapshot

    def _runs(self) -> bool | None:
        unknown = False
        for address in self.addresses:
            accepted = self.connect(address)
            if accepted:
                return True
            unknown = unknown or accepted is None
        return None if unknown else False


def accepts_connection(address: tuple[str, int], timeout: float = CONNECT_TIMEOUT_SECONDS) -> bool | None:
    """Return whether a server accepts a connection at the address; None if there is no answer in `timeout` seconds."""
    try:
        socket.create_connection(address, timeout).close()
    except TimeoutError:
        return None
    except OSError:
        return False
    return True
