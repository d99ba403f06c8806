"""An instance on demand whose process, engine, host and clock the test sets."""

import threading
from typing import Any

from svc.babysitter.engine_load import EngineLoadReader, MetricsPage
from svc.babysitter.instance_watch import ProcessSnapshot
from svc.babysitter.lifecycle import LifecycleEvent, LifecycleState
from svc.babysitter.on_demand.activity import Activity
from svc.babysitter.on_demand.engine_sleep import EngineSleep
from svc.babysitter.on_demand.fact_collector import FactCollector
from svc.babysitter.on_demand.host_memory import HostMemory
from svc.babysitter.on_demand.on_demand_loop import Effects, OnDemand
from svc.babysitter.on_demand.sleep_history import SleepHistory
from svc.base.gpus.gpu import Gpu, HostGpus
from svc.supervision.on_demand.instance_facts import InstanceFacts, Offer, Order
from tests.unit.babysitter.fake_instance import FakeInstance, models
from tests.unit.instance_configs import instance_config

STAY = Order("stay")


class FakeHost:
    """`orders` are given one after the other, the last one again and again; `failure` is raised instead.

    `in_flight` and `tokens` are what the engine's metrics show; if `in_flight` is None, nothing counts the requests.
    """

    def __init__(self, engine: EngineSleep | None = None, **config: Any) -> None:
        values = {"on_demand": True, "router_url": "", **config}
        self.orders: list[Order] = [STAY]
        self.failure: Exception | None = None
        self.reported: list[InstanceFacts] = []
        self.slept: list[str] = []  # the programs of put_to_sleep
        self.may_sleep = True
        self.in_flight: int | None = 0
        self.tokens = 0
        self.probes = (0, False)
        self.draining_known = True
        self.stopped = self.polls = self.rings = 0
        self.kept: list[tuple[dict[str, Any], ...]] = []
        self.gpus: HostGpus | None = HostGpus(tool="nvidia-smi", gpus=(Gpu(index=0, memory_total=80, memory_used=10),))
        self.measurements = 0
        self.instance = FakeInstance(
            instance_config(**values), models=models("a"), on_demand=values["on_demand"], observe=self.observe
        )
        self.instance.process = ProcessSnapshot("STOPPED")
        monitor = self.instance.monitor
        page = MetricsPage(["http://here"], self.metrics, self.clock)
        activity = Activity(EngineLoadReader(page, "", "qwen-server", self.metrics), lambda: self.probes, self.clock)
        self.history = SleepHistory("qwen-server", self.clock, self.clock)
        memory = HostMemory(self.read_gpus, lambda: self.gpus is not None, self.clock)
        facts = FactCollector(monitor.config, activity, self.history, memory, lambda: self.draining_known, self.clock)
        effects = Effects(self.stop, self.poll_process, self.kept.append, self.ring)
        self.loop = OnDemand(monitor, self, facts, memory, engine, effects, self.clock)

    def observe(self, before: LifecycleState, event: LifecycleEvent, after: LifecycleState) -> None:
        self.loop.observe(before, event, after)

    def clock(self) -> float:
        return self.instance.now

    def report(self, name: str, facts: InstanceFacts) -> Order:
        assert name == "qwen:server"
        self.reported.append(facts)
        if self.failure:
            raise self.failure
        return self.orders.pop(0) if len(self.orders) > 1 else self.orders[0]

    def put_to_sleep(self, name: str) -> bool:
        self.slept.append(name)
        return self.may_sleep

    def offer(self, name: str) -> Offer:
        return Offer(True, now=True, seconds=self.clock())

    def stop(self) -> None:
        self.stopped += 1

    def poll_process(self) -> None:
        self.polls += 1

    def ring(self) -> None:
        self.rings += 1

    def read_gpus(self) -> HostGpus | None:
        self.measurements += 1
        return self.gpus

    def metrics(self, url: str, timeout: float) -> str:
        if self.in_flight is None or not url.endswith("/metrics"):
            return ""
        return f"vllm:generation_tokens_total {self.tokens}\nvllm:num_requests_running {self.in_flight}\n"

    @property
    def state(self) -> LifecycleState:
        return self.instance.monitor.snapshot.state

    @property
    def facts(self) -> InstanceFacts:
        return self.reported[-1]

    def advance(self, seconds: float = 0.5) -> float:
        """Let time pass, poll and check the instance, and run a round of the loop; return its pause."""
        self.instance.advance(seconds)
        return self.loop.run_round()

    def start(self) -> None:
        """Let the program run and its engine be ready."""
        self.instance.process, self.instance.models = ProcessSnapshot("RUNNING", 7), models("a")
        self.advance()
        assert self.state is LifecycleState.RUNNING

    def stop_process(self) -> None:
        self.instance.process, self.instance.models = ProcessSnapshot("STOPPED"), []


class FakeEngine:
    """An engine with vLLM's sleep mode. `status` is what it answers to /sleep and /wake_up."""

    def __init__(self) -> None:
        self.is_sleeping = False
        self.status = 200
        self.sent: list[str] = []

    def request(self, method: str, url: str, timeout: float) -> tuple[int, str]:
        path = url.removeprefix("http://here")
        if path == "/is_sleeping":
            return 200, f'{{"is_sleeping": {str(self.is_sleeping).lower()}}}'
        self.sent.append(f"{method} {path}")
        if self.status == 200:
            self.is_sleeping = path == "/sleep?level=1"
        return self.status, "" if self.status == 200 else "CUDA error"


def wait_for(engine: EngineSleep) -> None:
    """Wait until the request in flight has ended."""
    for thread in threading.enumerate():
        if thread.name.startswith("engine "):
            thread.join(5)
    assert not engine.busy
