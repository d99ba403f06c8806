"""A host without supervisord and without waiting: an arbiter, and babysitters and engines as simple values.

Time passes in steps. In each step, every babysitter reports once and obeys its order. Memory that a process has held is
free only `release_seconds` after its end, as on real GPUs. A start on memory that is in use raises OutOfMemory.
"""

import dataclasses
import math

from svc.supervision.on_demand.arbiter import Arbiter
from svc.supervision.on_demand.instance_facts import Demand, GpuReading, InstanceFacts
from svc.supervision.on_demand.program import Program
from svc.supervision.on_demand.record import ProgramState

STEP_SECONDS = 0.5


class OutOfMemory(AssertionError):
    """An instance was started on memory that is not free."""


@dataclasses.dataclass
class Request:
    model: str
    arrived: float
    seconds: float  # how long it takes
    started: float | None = None


@dataclasses.dataclass
class Engine:
    """One instance: its process, its requests, and those that wait at the router for its model."""

    program: Program
    load_seconds: float = 10.0
    slots: int = 4
    fails_to_load: bool = False
    babysitter_runs: bool = True
    hold: float = 0.0
    sleep_after: float = math.inf
    state: str = "stopped"
    pid: int = 0
    ready_at: float = math.inf
    gpus: tuple[int, ...] = ()
    draining: bool = False
    idle_since: float = 0.0
    waiting: list[Request] = dataclasses.field(default_factory=list)
    in_flight: list[Request] = dataclasses.field(default_factory=list)
    reading_wanted: bool = False

    def is_ready(self, now: float) -> bool:
        return self.state == "running" and now >= self.ready_at


class SimulatedHost:
    """A host with GPUs of these sizes; `has_tool` is False for a host without the vendor's tool."""

    def __init__(self, engines, totals, *, has_tool=True, release_seconds=1.0, stop_seconds=1.0, **rules):
        self.engines = {engine.program.name: engine for engine in engines}
        self.totals = dict(enumerate(totals))
        self.has_tool = has_tool
        self.release_seconds = release_seconds
        self.stop_seconds = stop_seconds
        self.arbiter = Arbiter("host", **rules)
        self.now = 1000.0
        self.next_pid = 1
        self.lingering: list[tuple[int, int, float]] = []  # GPU, memory, until
        self.stopping: dict[str, float] = {}
        self.foreign = dict.fromkeys(self.totals, 0)
        self.loads = 0
        self.finished: list[Request] = []
        self.log: list[tuple[float, str, str]] = []

    def processes(self):
        return {
            name: ProgramState(
                engine.program, engine.state, engine.pid, "Exited with code 1" if engine.fails_to_load else ""
            )
            for name, engine in self.engines.items()
        }

    def used(self, gpu):
        held = sum(self.memory(e.program, gpu) for e in self.engines.values() if e.pid and gpu in e.gpus)
        return held + sum(m for g, m, until in self.lingering if g == gpu and until > self.now) + self.foreign[gpu]

    def memory(self, program, gpu):
        return program.memory or int(self.totals[gpu] * 0.9)

    def request(self, model, seconds=1.0):
        self.engines[model].waiting.append(Request(model, self.now, seconds))

    def step(self):
        self.now += STEP_SECONDS
        for name, until in list(self.stopping.items()):
            if self.now >= until:
                del self.stopping[name]
                self._end(name, "stopped")
        for engine in self.engines.values():
            self._serve(engine)
        for name in sorted(self.engines):
            if self.engines[name].babysitter_runs:
                self._babysit(name)

    def run(self, seconds):
        for _ in range(round(seconds / STEP_SECONDS)):
            self.step()

    def _serve(self, engine):
        if engine.state == "running" and engine.fails_to_load and self.now >= engine.ready_at:
            self._end(engine.program.name, "failed")
            return
        done = [r for r in engine.in_flight if r.started + r.seconds <= self.now]
        for request in done:
            engine.in_flight.remove(request)
            engine.idle_since = self.now
        self.finished += done
        while (
            engine.is_ready(self.now)
            and not engine.draining
            and engine.waiting
            and len(engine.in_flight) < engine.slots
        ):
            request = engine.waiting.pop(0)
            request.started = self.now
            engine.in_flight.append(request)

    def _babysit(self, name):
        engine = self.engines[name]
        if not engine.program.on_demand:
            return
        decision = self.arbiter.report(name, self.facts(engine), self.processes(), self.now)
        self.log.append((self.now, name, decision.action))
        if decision.action == "measure":  # it reports again at once
            engine.reading_wanted = True
            decision = self.arbiter.report(name, self.facts(engine), self.processes(), self.now)
            engine.reading_wanted = False
        if decision.action == "start":
            self.start(name, decision.gpus)
        engine.draining = decision.action == "release"
        if engine.draining and not engine.in_flight and engine.is_ready(self.now):
            self.arbiter.report(name, self.facts(engine), self.processes(), self.now)
            if self.arbiter.may_sleep(name, self.processes(), self.now):
                assert not engine.in_flight
                engine.state = "stopping"
                self.stopping[name] = self.now + self.stop_seconds

    def facts(self, engine):
        status = "asleep" if not engine.pid else "running" if engine.is_ready(self.now) else "starting"
        if engine.draining and status == "running":
            status = "draining"
        idle = self.now - max(engine.idle_since, engine.ready_at) if not engine.in_flight and engine.pid else 0.0
        oldest = self.now - engine.waiting[0].arrived if engine.waiting else 0.0
        demand = Demand(len(engine.waiting), oldest, engine.hold) if engine.waiting or engine.hold else None
        gpus = tuple(GpuReading(g, total, min(total, self.used(g))) for g, total in self.totals.items())
        return InstanceFacts(
            status,
            len(engine.in_flight),
            max(0.0, idle),
            engine.load_seconds,
            demand,
            gpus if engine.reading_wanted and self.has_tool else None,
            self.has_tool,
            status == "running" and idle >= engine.sleep_after,
        )

    def start(self, name, gpus=None):
        engine = self.engines[name]
        if gpus is None:
            gpus = self.arbiter.gpus_at_start(name, self.processes(), self.now)
        gpus = gpus or engine.program.gpus
        for gpu in gpus:
            if self.used(gpu) + self.memory(engine.program, gpu) > self.totals[gpu]:
                raise OutOfMemory(f"{name} on GPU {gpu}")
        engine.state, engine.pid, engine.gpus = "running", self.next_pid, gpus
        engine.ready_at = self.now + engine.load_seconds
        engine.draining = False
        engine.idle_since = engine.ready_at
        self.next_pid += 1
        self.loads += 1

    def _end(self, name, state):
        engine = self.engines[name]
        for gpu in engine.gpus:
            self.lingering.append((gpu, self.memory(engine.program, gpu), self.now + self.release_seconds))
        self.lingering = [entry for entry in self.lingering if entry[2] > self.now]
        engine.state, engine.pid, engine.ready_at, engine.gpus = state, 0, math.inf, ()
        engine.waiting = engine.in_flight + engine.waiting  # they are sent again
        engine.in_flight = []
