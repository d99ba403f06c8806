"""How the instance is seen: through supervisord, or by its port where something else runs it."""

import dataclasses
import logging
import socket
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from svc.babysitter.lifecycle import Event
from svc.base.errors import SvcError
from svc.supervision.client import SupervisordClient

log = logging.getLogger(__name__)

REFUSED = "its port refused connections"  # all that can be told of an end where nothing supervises it

# FATAL by itself is no failure: a shutdown of supervisord turns BACKOFF into FATAL.
MEANING = {
    "STARTING": Event.SPAWNED,
    "RUNNING": Event.SPAWNED,
    "EXITED": Event.EXITED,
    "BACKOFF": Event.EXITED,
    "FATAL": Event.EXITED,
    "UNKNOWN": Event.EXITED,
    "STOPPING": Event.STOPPING,
    "STOPPED": Event.STOPPED,
}


@dataclasses.dataclass(frozen=True, slots=True)
class Sighting:
    """The instance's process at one moment: `state` in supervisord's words, `since` in Unix seconds, pid 0: unknown."""

    state: str
    pid: int = 0
    since: float = 0.0
    restarts: int = 0
    failed: bool = False  # restarts are used up
    reason: str = ""  # why it ended last, where that is known

    def event(self) -> Event:
        return Event.GAVE_UP if self.state == "FATAL" and self.failed else MEANING[self.state]


def happened(before: Sighting | None, now: Sighting) -> Event | None:
    """What lies between two looks, as far as it matters: None when it is the same life of the same process."""
    if before is not None and (before.event(), before.pid) == (now.event(), now.pid):
        return None
    return now.event()


class Watch(Protocol):
    def look(self) -> Sighting | None:
        """The instance now; None when that cannot be told."""


class Supervised:
    """Asks supervisord over RPC. Restarts are asked for only when something moved."""

    def __init__(self, supervisord: SupervisordClient, program: str) -> None:
        self.supervisord = supervisord
        self.program = program
        self._before: tuple[str, int, int] | None = None
        self._seen: Sighting | None = None
        self._answers = True

    def look(self) -> Sighting | None:
        try:
            sighting = self._look()
        except SvcError as error:
            if self._answers:
                log.warning("cannot see %s: %s", self.program, error.message)
            self._answers = False
            return None
        if not self._answers:
            log.info("%s is seen again", self.program)
        self._answers = True
        return sighting

    def _look(self) -> Sighting:
        process = self.supervisord.process(self.program)
        now = (process.state, process.pid, process.start)
        if self._seen is None or now != self._before or process.state != "RUNNING":
            told = self.supervisord.restarts().get(self.program)
            more = (told.restarts, told.failed, told.reason) if told else ()
            self._seen = Sighting(process.state, process.pid, process.start, *more)
            self._before = now
        return self._seen


class Alone:
    """Knocks at the port: who accepts lives, who refuses is gone, and a silence says nothing (a full backlog, say)."""

    def __init__(
        self,
        addresses: Sequence[tuple[str, int]],
        knock: Callable[[tuple[str, int]], bool | None] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.addresses = addresses
        self.knock = knock or accepts
        self.clock = clock
        self._seen: Sighting | None = None
        self._lives = 0

    def look(self) -> Sighting | None:
        lives = self._lives_now()
        if lives is None:
            return None
        state = "RUNNING" if lives else "EXITED"
        if self._seen is None or self._seen.state != state:
            reason = REFUSED if self._lives else ""  # of its first life's end, and of each after it
            self._lives += lives
            since = self.clock() if lives else 0.0
            self._seen = Sighting(state, since=since, restarts=max(0, self._lives - 1), reason=reason)
        return self._seen

    def _lives_now(self) -> bool | None:
        unsure = False
        for address in self.addresses:
            answer = self.knock(address)
            if answer:
                return True
            unsure = unsure or answer is None
        return None if unsure else False


def accepts(address: tuple[str, int], timeout: float = 2.0) -> bool | None:
    """Whether something takes a connection there; None when that cannot be told in time."""
    try:
        socket.create_connection(address, timeout).close()
    except TimeoutError:
        return None
    except OSError:
        return False
    return True
