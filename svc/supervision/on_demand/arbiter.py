"""The arbiter of a host: remembers what babysitters report, and decides with `plan`. Pure.

Every method has the programs' states and the current time (monotonic seconds) as arguments. So the decisions can be
tested and simulated without supervisord.
"""

from typing import Any

import msgspec

from svc.supervision.on_demand.host import GpuMemory, Host, Instance
from svc.supervision.on_demand.instance_facts import InstanceFacts, Offer
from svc.supervision.on_demand.memory import Room, held
from svc.supervision.on_demand.offer import make_offer
from svc.supervision.on_demand.placement import Placer
from svc.supervision.on_demand.plan import InstanceDecision, Plan, make_plan
from svc.supervision.on_demand.readings import Readings
from svc.supervision.on_demand.record import Processes, Record

USE_WEIGHT = 1 / 64  # weight of the latest use in `use_share`, so that about the last 64 uses count


class Arbiter:
    """Decides for one host. `hostname` appears in reasons."""

    def __init__(self, hostname: str, parallel_loads: int = 1, stay_factor: float = 1.0) -> None:
        self.hostname = hostname
        self.parallel_loads = parallel_loads
        self.stay_factor = stay_factor
        self._records: dict[str, Record] = {}
        self._readings = Readings()

    def report(self, name: str, facts: InstanceFacts, processes: Processes, now: float) -> InstanceDecision:
        """Take a babysitter's facts and return the decision for its instance.

        If the decision is `start`, the caller starts the program; `gpus_at_start` returns its GPUs.
        """
        self._observe(processes, now)
        record = self._records[name]
        if record.report(facts, processes[name], now):
            self._count_use(record)
        if facts.gpus is not None:
            self._readings.take(facts.gpus, Room(self._host(processes, now)).reserved, now)
        decision = self._plan(processes, now).decisions[name]
        record.facts = msgspec.structs.replace(facts, gpus=None)  # the reading is valid for this decision only
        record.obey(decision, now)
        return decision

    def is_unready(self, name: str, processes: Processes) -> bool:
        """Return whether an instance's process has served no request yet, so that it can be stopped without a drain."""
        return name in self._records and self._records[name].phase(processes[name]) in ("loading", "restarting")

    def is_engine_asleep(self, name: str) -> bool:
        """Return whether an instance's engine sleeps or, if its process has just ended, slept when that ended."""
        record = self._records.get(name)
        return record is not None and record.life is not None and record.life.mode == "asleep"

    def may_sleep(self, name: str, processes: Processes, now: float) -> bool:
        """Return whether an instance may be put to sleep: it has to, is draining, and has no requests in flight."""
        self._observe(processes, now)
        instance = self._host(processes, now).instances[name]
        facts = instance.facts
        if facts is None or facts.status != "draining" or instance.phase != "awake":
            return False
        if facts.in_flight or (facts.in_flight is None and not facts.sleep):
            return False
        return self._plan(processes, now).decisions[name].action == "release"

    def offer(self, name: str, processes: Processes, now: float) -> Offer:
        """Return what it would cost to wake an instance."""
        self._observe(processes, now)
        return make_offer(self._host(processes, now), name)

    def gpus_at_start(self, name: str, processes: Processes, now: float) -> tuple[int, ...]:
        """Return the GPUs for a program that starts now, if it needs a number of any GPUs; () for other programs.

        They are the GPUs that a decision has chosen, or those of its last process, if it restarts. For any other start,
        such as an operator's, they are the GPUs with the most free memory.
        """
        program = processes[name].program
        if program.gpus or not program.count:
            return ()
        self._observe(processes, now)
        record = self._records[name]
        if not record.gpus:
            record.gpus = self._free_gpus(name, processes, now)
        return record.gpus

    def restarts_to_postpone(self, processes: Processes, now: float) -> list[str]:
        """Return the on-demand programs that wait for their restart and must not load yet, because others load."""
        restarting = [n for n, p in processes.items() if p.state == "restarting" and p.program.on_demand]
        if not restarting:
            return restarting
        self._observe(processes, now)
        phases = [self._records[n].phase(p) for n, p in processes.items() if p.program.on_demand]
        return restarting if phases.count("loading") >= self.parallel_loads else []

    def state(self, processes: Processes, now: float) -> dict[str, Any]:
        """Return what instances hold on each GPU, and the phase and order of each instance, as JSON values."""
        self._observe(processes, now)
        host = self._host(processes, now)
        room = Room(host)
        gpus = [
            {
                "index": gpu,
                "memory_total": memory.total,
                "memory_foreign": memory.foreign,
                "reserved": {n: held(i.program, memory.total) for n, i in room.holders[gpu].items()},
            }
            for gpu, memory in sorted(host.gpus.items())
        ]
        decisions = make_plan(host).decisions
        instances = {n: self._instance_state(i, decisions[n], now) for n, i in host.instances.items()}
        return {"hostname": self.hostname, "gpus": gpus, "instances": instances, "parallel_loads": self.parallel_loads}

    def _instance_state(self, instance: Instance, decision: InstanceDecision, now: float) -> dict[str, Any]:
        record = self._records[instance.name]
        facts = instance.facts
        is_same_order = record.decision.action == decision.action
        return {
            "phase": instance.phase,
            "on_demand": instance.program.on_demand,
            "gpus": list(instance.gpus),
            "memory": instance.program.memory or None,
            "reports": facts is not None,
            "in_flight": facts.in_flight if facts else None,
            "waiting": instance.demand.waiting,
            "waited_seconds": round(instance.waited_seconds, 1) if instance.is_wanted else 0.0,
            "order": decision.action,
            "reason": decision.reason,
            "order_seconds": round(now - record.decision_since, 1) if is_same_order else 0.0,
            "failures": record.failures,
            "failure": record.failure,
        }

    def _observe(self, processes: Processes, now: float) -> None:
        for name in self._records.keys() - processes.keys():
            del self._records[name]
        for name, process in processes.items():
            record = self._records.get(name)
            if record is None:
                record = self._records[name] = Record()
            if left := record.observe(process, now):
                self._readings.record_exit(left, now)

    def _count_use(self, used: Record) -> None:
        for record in self._records.values():
            record.use_share *= 1 - USE_WEIGHT
        used.use_share += USE_WEIGHT

    def _plan(self, processes: Processes, now: float) -> Plan:
        plan = make_plan(self._host(processes, now))
        for name, record in self._records.items():
            record.releasing_for = plan.releasing.get(name, "")
        return plan

    def _host(self, processes: Processes, now: float) -> Host:
        return Host(
            self.hostname,
            {name: self._records[name].instance(process, now) for name, process in processes.items()},
            self._readings.memory(now) or _named_gpus(processes),
            bool(self._readings),
            self.parallel_loads,
            self.stay_factor,
        )

    def _free_gpus(self, name: str, processes: Processes, now: float) -> tuple[int, ...]:
        host = self._host({n: p for n, p in processes.items() if n != name}, now)
        program = processes[name].program
        room = Room(host)
        place = Placer(host, room, Instance(program)).place()
        if place.gpus and not place.victims:
            return place.gpus
        gpus = sorted({**_named_gpus(processes), **host.gpus}, key=lambda gpu: (-room.free(gpu), gpu))
        return tuple(sorted(gpus[: program.count]))


def _named_gpus(processes: Processes) -> dict[int, GpuMemory]:
    """Return the GPUs that are known without a reading.

    These are the GPUs that programs name, and GPUs 0 to N - 1, where N is the largest `count` of a program.
    """
    named = {gpu for process in processes.values() for gpu in process.program.gpus}
    counted = range(max((process.program.count for process in processes.values()), default=0))
    return {gpu: GpuMemory() for gpu in sorted(named.union(counted))}
