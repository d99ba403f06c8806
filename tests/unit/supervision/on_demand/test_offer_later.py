"""An offer that is not possible now says whether it may become possible by itself."""

import dataclasses

import pytest

from svc.supervision.on_demand.host import GpuMemory, Host, Instance
from svc.supervision.on_demand.instance_facts import Demand, InstanceFacts
from svc.supervision.on_demand.offer import make_offer
from svc.supervision.on_demand.program import Program

GB = 10**9
WANTED = Instance(Program("wanted", (0,), memory=20 * GB, on_demand=True))
RUNNING = Program("running", (0,), memory=20 * GB, on_demand=True)
RUNS = InstanceFacts("running", in_flight=0)


def resident(facts: InstanceFacts | None = RUNS, **changes: object) -> Instance:
    return Instance(dataclasses.replace(RUNNING, **changes), "awake", facts, (0,), phase_seconds=1000)


@pytest.mark.parametrize(
    ("other", "memory", "possible", "later"),
    [
        (resident(), 24, True, False),
        (resident(InstanceFacts("running", in_flight=0, demand=Demand(hold=60))), 24, False, True),
        (resident(None), 24, False, True),
        (resident(InstanceFacts("running")), 24, False, True),
        (resident(keep=True), 24, False, False),
        (resident(on_demand=False), 24, False, False),
        (resident(), 16, False, False),
    ],
)
def test_what_prevents_a_wake_may_pass(other: Instance, memory: int, possible: bool, later: bool):
    gpus = {0: GpuMemory(memory * GB)}
    offer = make_offer(Host("h", {"wanted": WANTED, "running": other}, gpus, measured=True), "wanted")
    assert (offer.possible, offer.later) == (possible, later)


@pytest.mark.parametrize(("pause", "later"), [(9.0, True), (19.0, False)])
def test_requests_wait_for_the_second_try_after_one_failure_but_not_after_several(pause: float, later: bool):
    failed = dataclasses.replace(WANTED, pause_seconds=pause, failure="it failed to load")
    offer = make_offer(Host("h", {"wanted": failed}, {0: GpuMemory(24 * GB)}, measured=True), "wanted")
    assert (offer.possible, offer.later) == (False, later)
    assert "it failed to load; another try in" in offer.reason
