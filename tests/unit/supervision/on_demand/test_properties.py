"""Properties of the decisions of one host, whatever its instances, its GPUs and the requests are."""

import dataclasses

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from svc.supervision.on_demand.program import Program
from svc.supervision.on_demand.victims import MAX_WAIT_LOADS
from tests.unit.supervision.on_demand.simulated_host import STEP_SECONDS, Engine, SimulatedHost

GB = 10**9
GPU = 40 * GB
STEPS = 100
MAX_REQUEST_SECONDS = 8.0
OVERHEAD_SECONDS = 20.0  # of one change: reports, drain, the end of the process, its memory
EXAMPLES = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
    phases=[Phase.generate],
)


@st.composite
def programs(draw, gpus, number, **fixed):
    """A program that fits on the GPUs if nothing else is there."""
    is_fixed = draw(st.booleans())
    size = draw(st.integers(1, gpus))
    return Program(
        f"model-{number}:server",
        gpus=tuple(sorted(draw(st.permutations(range(gpus)))[:size])) if is_fixed else (),
        count=0 if is_fixed else size,
        memory=draw(st.sampled_from([0, 10 * GB, 18 * GB, 25 * GB])),
        on_demand=True,
        min_awake=draw(st.sampled_from([0.0, 5.0, 20.0])),
        **fixed,
    )


@st.composite
def hosts(draw, with_obstacles=True):
    """The arguments of a host, and its requests: (step, index of the model, seconds)."""
    gpus = draw(st.integers(1, 2))
    engines = []
    for number in range(draw(st.integers(3, 5))):
        keep = with_obstacles and draw(st.integers(0, 5)) == 0
        engines.append(
            Engine(
                draw(programs(gpus, number, keep=keep)),
                load_seconds=draw(st.sampled_from([0.5, 3.0, 10.0])),
                slots=draw(st.integers(1, 4)),
                fails_to_load=with_obstacles and draw(st.integers(0, 7)) == 0,
                hold=draw(st.sampled_from([0.0, 0.0, 30.0])) if with_obstacles else 0.0,
                sleep_after=draw(st.sampled_from([5.0, 1e9])),
            )
        )
    requests = draw(
        st.lists(
            st.tuples(st.integers(0, STEPS - 1), st.integers(0, len(engines) - 1), st.floats(0.1, MAX_REQUEST_SECONDS)),
            min_size=20,
            max_size=50,
        )
    )
    if draw(st.booleans()):  # one model is busy all the time
        requests += [(step, 0, 2.0) for step in range(STEPS)]
    arguments = {
        "totals": [GPU] * gpus,
        "has_tool": draw(st.booleans()),
        "release_seconds": draw(st.sampled_from([0.0, 1.0, 4.0])),
        "parallel_loads": draw(st.integers(1, 2)),
        "stay_factor": draw(st.sampled_from([0.5, 1.0, 4.0])),
    }
    if not arguments["has_tool"]:
        arguments["release_seconds"] = 0.0  # nothing shows when memory is free
    return engines, arguments, sorted(requests)


def simulate(case, steps=STEPS, check=lambda host: None):
    """Run a host with copies of the engines; return it."""
    engines, arguments, requests = case
    host = SimulatedHost([dataclasses.replace(e, waiting=[], in_flight=[]) for e in engines], **arguments)
    names = list(host.engines)
    requests = list(requests)
    for step in range(steps):
        while requests and requests[0][0] <= step:
            _, number, seconds = requests.pop(0)
            host.request(names[number], seconds)
        host.step()
        check(host)
        if step >= STEPS and len(host.finished) == len(case[2]):
            break
    return host


def check_host(host):
    """Memory is not over-committed, and not too many instances load."""
    loading = [e for e in host.engines.values() if e.state == "running" and not e.is_ready(host.now)]
    assert len(loading) <= host.arbiter.parallel_loads
    for gpu, total in host.totals.items():
        holders = [e.program for e in host.engines.values() if e.pid and gpu in e.gpus]
        assert sum(program.memory or total for program in holders) <= total
        assert host.has_tool or len(holders) <= 1


@EXAMPLES
@given(hosts())
def test_memory_is_never_over_committed_and_loads_are_limited(case):
    simulate(case, check=check_host)  # the host raises if an instance is started on memory that is in use


@EXAMPLES
@given(hosts())
def test_only_an_instance_that_may_give_way_is_put_to_sleep(case):
    engines, arguments, requests = case
    awake_since = {}

    def check(host):
        for name, engine in host.engines.items():
            if engine.is_ready(host.now):
                awake_since.setdefault(name, host.now)
            elif name in awake_since:
                residence = host.now - awake_since.pop(name)
                assert not engine.in_flight
                if engine.sleep_after > 1e6 and not engine.fails_to_load:  # nothing but another instance ended it
                    assert not engine.program.keep
                    assert not engine.hold
                    assert residence >= engine.program.min_awake - STEP_SECONDS

    simulate(case, check=check)


@EXAMPLES
@given(hosts())
def test_decisions_are_deterministic(case):
    assert simulate(case, 60).log == simulate(case, 60).log


@settings(EXAMPLES, max_examples=8)
@given(hosts(with_obstacles=False))
def test_every_demand_that_can_ever_fit_is_started_in_time(case):
    """Each change of place is due to a demand that is older, so a demand waits for at most all others once.

    One turn takes: the rest of a load, `min_awake`, the patience with a resident that was just used, until the queue is
    short enough for the time waited, the requests in flight, and the overhead of a change.
    """
    engines, arguments, requests = case
    longest_load = max(engine.load_seconds for engine in engines)
    turn = (
        longest_load
        + MAX_WAIT_LOADS * longest_load / arguments["stay_factor"]
        + max(engine.program.min_awake for engine in engines)
        + len(requests) / arguments["stay_factor"]
        + MAX_REQUEST_SECONDS
        + OVERHEAD_SECONDS
    )
    bound = len(engines) * turn
    wanted_since = {}

    def check(host):
        for name, engine in host.engines.items():
            if engine.is_ready(host.now) or not engine.waiting:
                wanted_since.pop(name, None)
                continue
            waited = host.now - wanted_since.setdefault(name, host.now)
            assert waited <= bound, f"{name} is waited for during {waited} s, more than {bound} s"

    host = simulate(case, 10_000, check)
    assert len(host.finished) == len(requests)
