"""Watches what an instance must keep to: be ready in time, and leave memory to others."""

import logging
import time
from collections.abc import Callable

from svc.babysitter import health_rules
from svc.babysitter.health_rules import NOTHING, Reading
from svc.babysitter.instance_watch import Sighting
from svc.babysitter.lifecycle import Event, State
from svc.babysitter.memory import used
from svc.babysitter.monitor import Babysitter
from svc.babysitter.restarter import Remedy

log = logging.getLogger(__name__)
MEMORY_EVERY = 5.0  # seconds
ALIVE = (State.STARTING, State.RUNNING, State.HUNG)


class Limits:
    """`round` is due every second. `clock` is monotonic: a clock that is set must not make anything late."""

    def __init__(
        self,
        sitter: Babysitter,
        read: Callable[[], Reading],
        remedy: Remedy,
        measure: Callable[[int, int], int] = used,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.sitter = sitter
        self.config = sitter.config
        self.read = read
        self.remedy = remedy
        self.measure = measure
        self.clock = clock
        self.memory: int | None = None  # bytes, as last seen
        self._process: tuple[int, float] | None = None
        self._since = 0.0  # when this process was first seen
        self._above = 0
        self._next_look = 0.0
        self._leaving: Leaving | None = None

    def round(self) -> None:
        sighting, now = self.sitter.picture.sighting, self.clock()
        process = (sighting.pid, sighting.since) if sighting and sighting.event() is Event.SPAWNED else None
        if process != self._process:
            self._process, self._since, self._next_look = process, now, now
            self._above, self._leaving, self.memory = 0, None, None
        if sighting is None or process is None:
            return
        if self._leaving is not None:
            self._leave(sighting, self._leaving, now)
        elif self._late(now):
            self.remedy.restart(sighting, "startup", f"not ready within {self.config.startup_timeout:g} s of its start")
        elif self.config.max_memory and sighting.pid and now >= self._next_look:
            self._next_look = now + MEMORY_EVERY
            self._weigh(sighting.pid, now)

    def _late(self, now: float) -> bool:
        limit = self.config.startup_timeout
        return bool(limit) and self.sitter.picture.state is State.STARTING and now - self._since > limit

    def _weigh(self, pid: int, now: float) -> None:
        limit, picture = self.config.max_memory, self.sitter.picture
        self.memory = self.measure(pid, limit)
        self._above = health_rules.above(self._above, self.memory, limit)
        if self._above < health_rules.LOOKS or picture.state not in ALIVE:
            return
        why = f"{health_rules.size(self.memory)} used, and {health_rules.size(limit)} is the limit"
        log.warning("%s: %s: it gets no new requests, and is restarted once it is idle", self.config.name, why)
        self._leaving = Leaving(why, now, useful=picture.state is State.RUNNING)
        self.sitter.found(Event.RETIRED, picture.life)

    def _leave(self, sighting: Sighting, leaving: "Leaving", now: float) -> None:
        if not leaving.useful or leaving.over(self.read(), now):
            self.remedy.restart(sighting, "memory", leaving.why)


class Leaving:
    """An instance that gets nothing new, until it may be ended; `useful`: it may have begun requests to finish."""

    def __init__(self, why: str, now: float, useful: bool) -> None:
        self.why = why
        self.useful = useful
        self._since = self._moved = now
        self._reading = NOTHING

    def over(self, reading: Reading, now: float) -> bool:
        if health_rules.moved(self._reading, reading) or not reading.counters:  # nothing known: nothing stands still
            self._moved = now
        self._reading = reading
        return health_rules.drained(now - self._since, reading.running, now - self._moved)
