"""Hosts and instances for tests of decisions."""

from svc.supervision.on_demand.host import GpuMemory, Host, Instance
from svc.supervision.on_demand.instance_facts import Demand, GpuReading, InstanceFacts
from svc.supervision.on_demand.program import Program

GB = 10**9


def program(name, gpus=(0,), memory=30, count=0, **fields):
    return Program(f"{name}:server", gpus, count, memory * GB, **{"on_demand": True, "min_awake": 60.0, **fields})


def asleep(name, *, waiting=0, oldest=0.0, hold=0.0, used=None, has_tool=False, phase="stopped", **fields):
    """A stopped instance; with `used`, its babysitter has just measured this much memory on GPU 0, in GB."""
    demand = Demand(waiting, oldest, hold) if waiting or hold else None
    gpus = None if used is None else (GpuReading(0, 40 * GB, used * GB),)
    own = {key: fields.pop(key) for key in ("pause_seconds", "failure", "load_seconds") if key in fields}
    needs = program(name, **fields)
    facts = InstanceFacts("asleep", 0, 0.0, None, demand, gpus, has_tool)
    return Instance(needs, phase, facts, needs.gpus, **own)


def awake(
    name, *, in_flight=0, idle=100.0, waiting=0, hold=0.0, seconds=1000.0, status="running", phase="awake", **fields
):
    own = {key: fields.pop(key) for key in ("use_share", "load_seconds", "releasing_for") if key in fields}
    own.setdefault("load_seconds", 0.5)  # so short that an instance that was just used stays for only a moment
    reports, on_gpus = fields.pop("reports", True), fields.pop("on", None)
    reported = {key: fields.pop(key) for key in ("sleep", "delay") if key in fields}
    needs = program(name, **fields)
    demand = Demand(waiting, 0.0, hold) if waiting or hold else None
    facts = (
        InstanceFacts(status, in_flight, idle if not in_flight else 0.0, None, demand, **reported) if reports else None
    )
    return Instance(needs, phase, facts, on_gpus or needs.gpus, phase_seconds=seconds, **own)


def host(*instances, sizes=(40,), foreign=0, measured=True, **fields):
    """A host whose GPUs have these sizes in GB; `foreign` GB of each are used by other processes."""
    gpus = {index: GpuMemory(size and size * GB, foreign * GB) for index, size in enumerate(sizes)}
    return Host("host-a", {i.name: i for i in instances}, gpus, measured, **fields)
