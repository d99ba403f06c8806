"""A site in simulated time: the real decisions of the hosts, and simulated babysitters, engines and a router. Pure.

Each host decides with `Arbiter`, the code that runs in supervisord. Simulated are what surrounds it: babysitters that
report and obey as often as real ones, engines that take memory and time, and a router that lets requests wait, gets
offers, chooses as a real one does, and renews its demands.
"""

import heapq
import itertools
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from demand.trace import KEPT, Request
from svc.router.waking.answers import WakeOffer
from svc.router.waking.choice import choose
from svc.router.waking.waker import DEMAND_INTERVAL_SECONDS, OFFER_INTERVAL_SECONDS
from svc.supervision.on_demand.arbiter import Arbiter
from svc.supervision.on_demand.instance_facts import Demand, GpuReading, InstanceFacts
from svc.supervision.on_demand.program import Program
from svc.supervision.on_demand.record import ProgramState

GB = 10**9
REPORT_SECONDS, SHORT_REPORT_SECONDS = 0.5, 0.15  # between two reports of a babysitter: usually, and during a change
IDLE_REPORT_SECONDS = 2.5  # where nothing can change; a real one reports as often as otherwise
DEMAND_VALID_SECONDS = 3.0
NOTICE_SECONDS = 0.05  # until a router knows the new status of an instance


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteSettings:
    """The site. Sizes are bytes."""

    hosts: int = 2
    gpus: int = 2  # of each host
    gpu_memory: int = 80 * GB
    model_memory: int = 60 * GB
    load_seconds: float = 30.0
    stop_seconds: float = 2.0
    min_awake: float = 60.0
    stay_factor: float = 1.0
    parallel_loads: int = 1
    first_token: float = 0.0  # until the first token of an engine that is awake; on real sites and llama-swap only


@dataclass(slots=True)
class Outcome:
    """What happened."""

    waits: dict[str, list[float]] = field(
        default_factory=lambda: defaultdict(list)
    )  # by model: until the engine has it
    loads: list[tuple[float, str]] = field(default_factory=list)  # when, which instance
    out_of_memory: int = 0
    killed_requests: int = 0
    unserved: int = 0


@dataclass(slots=True)
class Instance:
    """An instance: its process and its babysitter."""

    name: str
    model: str
    host: "SimulatedHost"
    program: Program
    state: str = "stopped"  # of its process, as supervisord knows it
    status: str = "asleep"  # as its babysitter reports it
    pid: int = 0
    gpus: tuple[int, ...] = ()
    in_flight: int = 0
    idle_since: float = 0.0
    load_seconds: float | None = None
    demand: Demand | None = None
    demand_at: float = 0.0
    action: str = "stay"
    reported_at: float = -1.0


class SimulatedHost:
    """A host with its GPUs and the extension of its supervisord."""

    def __init__(self, name: str, settings: SiteSettings) -> None:
        self.name = name
        self.settings = settings
        self.arbiter = Arbiter(name, settings.parallel_loads, settings.stay_factor)
        self.instances: dict[str, Instance] = {}

    def processes(self) -> dict[str, ProgramState]:
        return {i.name: ProgramState(i.program, i.state, i.pid) for i in self.instances.values()}

    def used(self, gpu: int) -> int:
        return sum(i.program.memory for i in self.instances.values() if i.pid and gpu in i.gpus)

    def reading(self) -> tuple[GpuReading, ...]:
        total = self.settings.gpu_memory
        return tuple(GpuReading(gpu, total, self.used(gpu)) for gpu in range(self.settings.gpus))


class Simulation:
    """Runs a trace. Event handlers are functions without arguments; `now` is the simulated time."""

    def __init__(self, settings: SiteSettings, models: Iterable[str]) -> None:
        self.settings = settings
        self.now = 0.0
        self.outcome = Outcome()
        self.waiting: dict[str, deque[Request]] = defaultdict(deque)
        self._chosen: dict[str, tuple[tuple[str, ...], float]] = {}  # by model, and until when no other is looked for
        self.open = 0  # requests that have not ended
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count(1)
        self.hosts = [SimulatedHost(f"host-{number}", settings) for number in range(1, settings.hosts + 1)]
        self.by_model: dict[str, list[Instance]] = defaultdict(list)
        for model in models:
            for host in self.hosts if model != KEPT else self.hosts[:1]:
                self._add(host, model)

    def _add(self, host: SimulatedHost, model: str) -> None:
        name = f"{model}-{host.name}:server"
        keep = model == KEPT
        memory, min_awake = self.settings.model_memory, self.settings.min_awake
        program = Program(name, count=1, memory=memory, on_demand=not keep, keep=keep, min_awake=min_awake)
        instance = Instance(name, model, host, program)
        host.instances[name] = instance
        self.by_model[model].append(instance)
        if keep:  # it runs already when the trace begins
            instance.gpus = host.arbiter.gpus_at_start(name, host.processes(), self.now)
            instance.state, instance.status, instance.pid = "running", "running", next(self._numbers)
        self._report(instance)

    def at(self, moment: float, act: Callable[[], None]) -> None:
        """Call `act` at a moment."""
        heapq.heappush(self._events, (moment, next(self._numbers), act))

    def run(self, requests: list[Request], scale: float, limit: float) -> Outcome:
        """Serve the requests, whose times are multiplied by `scale`; give up `limit` seconds after the last one."""
        self.open = len(requests)
        for request in requests:
            real = Request(request.at * scale, request.model, request.seconds * scale)
            self.at(real.at, lambda request=real: self._arrive(request))
        self._renew_demands()
        end = requests[-1].at * scale + limit
        while self.open and self.now < end:
            self.now, _, act = heapq.heappop(self._events)
            act()
        self.outcome.unserved = self.open
        return self.outcome

    # The router.

    def _arrive(self, request: Request) -> None:
        is_first = not self.waiting[request.model]
        self.waiting[request.model].append(request)
        self._dispatch(request.model)
        if is_first and self.waiting[request.model]:
            self._demand(request.model)

    def _dispatch(self, model: str) -> None:
        awake = [i for i in self.by_model[model] if i.status == "running"]
        while awake and self.waiting[model]:
            request = self.waiting[model].popleft()
            instance = min(awake, key=lambda i: i.in_flight)
            self.outcome.waits[model].append(self.now - request.at)
            instance.in_flight += 1
            pid = instance.pid
            self.at(self.now + request.seconds, lambda i=instance, pid=pid: self._end(i, pid))

    def _end(self, instance: Instance, pid: int) -> None:
        self.open -= 1
        if instance.pid != pid:
            self.outcome.killed_requests += 1
            return
        instance.in_flight -= 1
        if not instance.in_flight:
            instance.idle_since = self.now

    def _renew_demands(self) -> None:
        for model in [model for model, line in self.waiting.items() if line]:
            self._demand(model)
        self.at(self.now + DEMAND_INTERVAL_SECONDS, self._renew_demands)

    def _demand(self, model: str) -> None:
        if any(i.status == "running" for i in self.by_model[model]):
            return
        line = self.waiting[model]
        instance = self._choose(model)
        instance.demand = Demand(len(line), self.now - line[0].at)
        instance.demand_at = self.now
        self._report_soon(instance)

    def _choose(self, model: str) -> Instance:
        """Return the instance to wake: one that loads already, else the one that the router would choose."""
        instances = {i.name: i for i in self.by_model[model]}
        for instance in instances.values():
            if instance.status == "starting":
                return instance
        chosen, until = self._chosen.get(model, ((), 0.0))
        if not chosen or self.now >= until:
            chosen = choose({name: self._offer(i) for name, i in instances.items()}, chosen, 1)
            self._chosen[model] = (chosen, self.now + OFFER_INTERVAL_SECONDS)
        return instances[chosen[0]] if chosen else next(iter(instances.values()))

    def _offer(self, instance: Instance) -> WakeOffer:
        offer = instance.host.arbiter.offer(instance.name, instance.host.processes(), self.now)
        return WakeOffer(offer.possible, offer.now, offer.seconds, offer.idle_seconds, status=instance.status)

    # Babysitters.

    def _report_soon(self, instance: Instance) -> None:
        if instance.reported_at < self.now:
            self._report(instance, again=False)

    def _report(self, instance: Instance, again: bool = True) -> None:
        instance.reported_at = self.now
        if instance.demand and self.now - instance.demand_at > DEMAND_VALID_SECONDS:
            instance.demand = None
        decision = instance.host.arbiter.report(
            instance.name, self._facts(instance), instance.host.processes(), self.now
        )
        instance.action = decision.action
        if decision.action == "start":
            self._start(instance, decision.gpus)
        elif decision.action == "release":
            self._release(instance)
        elif instance.status == "draining":
            self._set_status(instance, "running")
        if again:
            self.at(self.now + self._report_interval(instance), lambda: self._report(instance))

    def _report_interval(self, instance: Instance) -> float:
        if instance.action in ("wait", "measure", "release") or instance.state == "stopping":
            return SHORT_REPORT_SECONDS
        is_quiet = instance.status == "asleep" and instance.demand is None
        return IDLE_REPORT_SECONDS if is_quiet else REPORT_SECONDS

    def _facts(self, instance: Instance) -> InstanceFacts:
        reading = instance.host.reading() if instance.action == "measure" else None
        idle = self.now - instance.idle_since if not instance.in_flight else 0.0
        return InstanceFacts(
            instance.status,
            instance.in_flight if instance.pid else 0,
            idle,
            instance.load_seconds,
            instance.demand,
            reading,
            has_tool=True,
        )

    def _release(self, instance: Instance) -> None:
        if instance.status == "running":
            self._set_status(instance, "draining")
        host = instance.host
        if not instance.in_flight and host.arbiter.may_sleep(instance.name, host.processes(), self.now):
            instance.state = "stopping"
            self._set_status(instance, "stopped")
            self.at(self.now + self.settings.stop_seconds, lambda: self._stopped(instance))

    def _set_status(self, instance: Instance, status: str) -> None:
        instance.status = status
        if status == "running":
            self.at(self.now + NOTICE_SECONDS, lambda: self._dispatch(instance.model))

    # Engines.

    def _start(self, instance: Instance, gpus: tuple[int, ...]) -> None:
        host, settings = instance.host, self.settings
        self.outcome.loads.append((self.now, instance.name))
        for gpu in gpus:
            self.outcome.out_of_memory += host.used(gpu) + instance.program.memory > settings.gpu_memory
        instance.state, instance.pid, instance.gpus = "running", next(self._numbers), gpus
        instance.status = "starting"
        instance.in_flight = 0
        self.at(self.now + settings.load_seconds, lambda: self._ready(instance))

    def _ready(self, instance: Instance) -> None:
        instance.load_seconds = self.settings.load_seconds
        instance.idle_since = self.now
        self._set_status(instance, "running")

    def _stopped(self, instance: Instance) -> None:
        instance.state, instance.pid, instance.gpus = "stopped", 0, ()
        instance.status = "asleep"
