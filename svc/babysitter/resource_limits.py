"""Enforce the startup timeout and the memory limit of an instance by restarting it."""

import logging
import re
import time
from collections.abc import Callable, Iterable

from svc.babysitter import health_rules
from svc.babysitter.health_rules import UNKNOWN_LOAD, EngineLoad
from svc.babysitter.instance_watch import ProcessSnapshot
from svc.babysitter.lifecycle import LifecycleEvent, LifecycleState
from svc.babysitter.monitor import Monitor
from svc.babysitter.restarter import Restarter
from svc.base import procfs
from svc.supervision import orphans

log = logging.getLogger(__name__)
MEMORY_INTERVAL_SECONDS = 5.0
LIVE_STATES = (LifecycleState.STARTING, LifecycleState.RUNNING, LifecycleState.HUNG)
MEMORY_LINES = re.compile(rb"^(VmRSS|VmSwap|Pss|SwapPss):\s+(\d+) kB", re.M)


class ResourceLimits:
    """Checks both limits: call `run_round` every second.

    `read_load` returns the load of the engine. `measure` is `memory_used`, or a replacement for it.
    `clock` is monotonic, so that a change of the system time does not count towards a timeout.
    """

    def __init__(
        self,
        monitor: Monitor,
        read_load: Callable[[], EngineLoad],
        restarter: Restarter,
        measure: Callable[[int, int], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.monitor = monitor
        self.config = monitor.config
        self.read_load = read_load
        self.restarter = restarter
        self.measure = measure
        self.clock = clock
        self.memory: int | None = None  # used bytes at the last measurement
        self._identity: tuple[int, float] | None = None  # pid and start time of the checked process
        self._first_seen = 0.0  # when `run_round` first saw this process in this start
        self._samples_over_limit = 0
        self._next_measurement = 0.0
        self._drain: Drain | None = None

    def run_round(self) -> None:
        """Check the process once, and restart it if it exceeds a limit."""
        process, now = self.monitor.snapshot.process, self.clock()
        spawned = process is not None and process.event() is LifecycleEvent.SPAWNED
        identity = (process.pid, process.since) if process and spawned else None
        if identity != self._identity:
            self._identity, self._first_seen, self._next_measurement = identity, now, now
            self._samples_over_limit, self._drain, self.memory = 0, None, None
        state = self.monitor.snapshot.state
        if state is not LifecycleState.STARTING:
            self._first_seen = now  # for the next start of the same process: the wake of an engine that sleeps
        if process is None or identity is None or state is LifecycleState.ASLEEP:
            return
        if self._drain is not None:
            self._restart_when_drained(process, self._drain, now)
        elif self._starts_too_slowly(now):
            self.restarter.restart(
                process, "startup", f"not ready within {self.config.startup_timeout:g} s of its start"
            )
        elif self.config.max_memory and process.pid and now >= self._next_measurement:
            self._next_measurement = now + MEMORY_INTERVAL_SECONDS
            self._check_memory(process.pid, now)

    def _starts_too_slowly(self, now: float) -> bool:
        limit = self.config.startup_timeout
        starting = self.monitor.snapshot.state is LifecycleState.STARTING
        return bool(limit) and starting and now - self._first_seen > limit

    def _check_memory(self, pid: int, now: float) -> None:
        limit, snapshot = self.config.max_memory, self.monitor.snapshot
        self.memory = self.measure(pid, limit)
        self._samples_over_limit = health_rules.samples_over_limit(self._samples_over_limit, self.memory, limit)
        if self._samples_over_limit < health_rules.MAX_SAMPLES_OVER_MEMORY_LIMIT or snapshot.state not in LIVE_STATES:
            return
        used, allowed = health_rules.format_bytes(self.memory), health_rules.format_bytes(limit)
        reason = f"{used} used, and {allowed} is the limit"
        log.warning("%s: %s: it gets no new requests, and is restarted once it is idle", self.config.name, reason)
        self._drain = Drain(reason, now, has_requests=snapshot.state is LifecycleState.RUNNING)
        self.monitor.apply(LifecycleEvent.RESTART_PENDING, snapshot.process_stage)

    def _restart_when_drained(self, process: ProcessSnapshot, drain: "Drain", now: float) -> None:
        if not drain.has_requests or drain.is_over(self.read_load(), now):
            self.restarter.restart(process, "memory", drain.reason)


class Drain:
    """The drain of an instance before its restart. If `has_requests` is False, there is nothing to wait for."""

    def __init__(self, reason: str, now: float, has_requests: bool) -> None:
        self.reason = reason
        self.has_requests = has_requests
        self._begun = self._last_token = now
        self._load = UNKNOWN_LOAD

    def is_over(self, load: EngineLoad, now: float) -> bool:
        """Return whether the drain is over, given the instance's load at the time `now`."""
        # An engine without counters may be busy, so it does not count as idle.
        if health_rules.generated_between(self._load, load) or not load.counters:
            self._last_token = now
        self._load = load
        return health_rules.is_drained(now - self._begun, load.running, now - self._last_token)


def memory_used(pid: int, limit: int) -> int:
    """Return the memory, resident or swapped out, of the process group of `pid` and all its descendants, in bytes.

    The sum over /proc/PID/status is cheap, but an upper bound, because it counts a shared page once for each process.
    If the sum exceeds `limit`, return the sum of the PSS (proportional set size), which divides each shared page among
    its processes. PSS is expensive, because the kernel walks all page tables.
    """
    pids = orphans.process_tree(pid)
    upper_bound = _sum_of_memory(pids, "status")
    return upper_bound if upper_bound <= limit else _sum_of_memory(pids, "smaps_rollup")


def _sum_of_memory(pids: Iterable[int], source: str) -> int:
    return sum(_memory_of(pid, source) for pid in pids)


def _memory_of(pid: int, source: str) -> int:
    try:
        return sum(int(value) for _, value in MEMORY_LINES.findall(procfs.read(pid, source))) << 10
    except OSError:  # the process has ended or belongs to another user, or the kernel has no smaps_rollup
        return _memory_of(pid, "status") if source != "status" else 0
