"""An idle instance that was used a moment ago stays for a while, so that it is not loaded for each request."""

import pytest

from svc.supervision.on_demand.host import GpuMemory, Host, Instance
from svc.supervision.on_demand.instance_facts import Demand, InstanceFacts
from svc.supervision.on_demand.offer import make_offer
from svc.supervision.on_demand.program import Program
from svc.supervision.on_demand.victims import Timing, gives_way

GB = 10**9


def resident(idle_seconds: float, load_seconds: float = 10.0, in_flight: int = 0) -> Instance:
    facts = InstanceFacts("running", in_flight, idle_seconds)
    program = Program("a:server", (0,), memory=50 * GB, on_demand=True, min_awake=0)
    return Instance(program, "awake", facts, (0,), phase_seconds=500, load_seconds=load_seconds)


def candidate(waited_seconds: float) -> Instance:
    facts = InstanceFacts("asleep", demand=Demand(1, waited_seconds))
    program = Program("b:server", (0,), memory=50 * GB, on_demand=True)
    return Instance(program, facts=facts, load_seconds=10.0)


@pytest.mark.parametrize(
    ("idle", "waited", "timing"),
    [
        (19, 1, Timing.LATER),
        (20, 1, Timing.NOW),  # two loads
        (1, 29, Timing.LATER),
        (1, 30, Timing.NOW),  # three loads
    ],
)
def test_it_stays_for_two_loads_unless_the_other_has_waited_for_three(idle, waited, timing):
    assert gives_way(resident(idle), candidate(waited), 1.0).timing == timing


def test_a_larger_stay_factor_makes_it_leave_sooner():
    assert gives_way(resident(5), candidate(1), 1.0).timing == Timing.LATER
    assert gives_way(resident(5), candidate(1), 4.0).timing == Timing.NOW
    assert gives_way(resident(1e6), candidate(1), 0.0).timing == Timing.NOW


def test_a_long_load_makes_nobody_wait_for_minutes():
    assert gives_way(resident(81, load_seconds=600), candidate(1), 1.0).timing == Timing.NOW
    assert gives_way(resident(0, load_seconds=600), candidate(121), 1.0).timing == Timing.NOW


def test_a_busy_instance_is_one_that_is_used():
    assert gives_way(resident(0, in_flight=1), candidate(29), 1.0).timing == Timing.LATER
    assert gives_way(resident(0, in_flight=1), candidate(30), 1.0).timing == Timing.NOW


def test_the_offer_counts_the_time_for_which_it_stays():
    def seconds(stay_factor: float) -> float:
        instances = {i.name: i for i in (resident(idle_seconds=5), candidate(1))}
        gpus = {0: GpuMemory(80 * GB)}
        return make_offer(Host("h", instances, gpus, measured=True, stay_factor=stay_factor), "b:server").seconds

    assert seconds(1.0) == pytest.approx(seconds(100.0) + 15, abs=0.01)
