"""Checks whether requests wait long for an instance on demand to wake, and shows what the instance waits for."""

from collections.abc import Iterator

from svc.doctor.facts import Facts
from svc.doctor.findings import WARNING, Finding
from svc.site.components import Component

LONG_WAIT_SECONDS = 20
UNREADY_STATES = ("asleep", "starting")


def check(facts: Facts) -> Iterator[Finding]:
    for component in facts.instances:
        if component.on_demand:
            yield from _waiting_requests(facts, component)


def _waiting_requests(facts: Facts, component: Component) -> Iterator[Finding]:
    probe = facts.instance_probes.get(component.name)
    on_demand = probe.info.get("on_demand") if probe else None
    demand = on_demand.get("demand") if isinstance(on_demand, dict) else None
    if probe is None or on_demand is None or not demand or probe.info.get("state") not in UNREADY_STATES:
        return
    waiting, oldest = demand.get("waiting", 0), demand.get("oldest", 0.0)
    if waiting and oldest > LONG_WAIT_SECONDS:
        requests = "a request has" if waiting == 1 else f"{waiting} requests have"
        yield Finding(
            f"wake.{component.name}",
            WARNING,
            f"{component.name}: {requests} waited {oldest:.0f} s for it to wake",
            on_demand.get("reason") or f"it is {probe.info.get('state')}",
            first_step="docs/ON_DEMAND.md says what that means; see what has the memory of the GPUs:",
            fix="svc gpus",
            causes=(f"program.{component.server_program}", "gpu.*"),
        )
