import pytest

from svc.supervision.on_demand.plan import make_plan
from tests.unit.supervision.on_demand.hosts import asleep, awake, host


def actions(*instances, **fields):
    """The action for each instance, by its name without :server."""
    decisions = make_plan(host(*instances, **fields)).decisions
    return {name.removesuffix(":server"): decision.action for name, decision in decisions.items()}


def reason(name, *instances, **fields):
    return make_plan(host(*instances, **fields)).decisions[f"{name}:server"].reason


def test_free_memory_is_used_at_once():
    assert actions(asleep("a", waiting=1)) == {"a": "start"}


def test_nothing_happens_without_a_demand():
    assert actions(asleep("a"), awake("b")) == {"a": "stay", "b": "stay"}


@pytest.mark.parametrize(("used", "action"), [(None, "measure"), (11, "measure"), (10, "start")])
def test_a_start_waits_for_a_reading_that_shows_free_memory(used, action):
    assert actions(asleep("a", waiting=1, has_tool=True, used=used)) == {"a": action}


def test_an_idle_instance_gives_way():
    assert actions(awake("a"), asleep("b", waiting=1)) == {"a": "release", "b": "wait"}


@pytest.mark.parametrize(
    ("resident", "held"),
    [
        ({"keep": True}, "keep = true"),
        ({"hold": 5.0}, "kept awake"),
        ({"on_demand": False}, "always on"),
        ({"in_flight": None}, "its requests cannot be counted"),
        ({"reports": False}, "its babysitter does not report"),
        ({"seconds": 59.0}, "awake since 59 s, at least 60 s"),
        ({"phase": "loading"}, "loading"),
        ({"in_flight": 9}, "busy"),
    ],
)
def test_who_never_gives_way_and_why(resident, held):
    instances = awake("a", **resident), asleep("b", waiting=1, oldest=8.0)
    expected = f"needs 30 GB on 1 GPU; host-a GPU 0 has 10 GB of 40 GB free, held by a ({held})"
    assert actions(*instances, parallel_loads=2) == {"a": "stay", "b": "wait"}
    assert reason("b", *instances, parallel_loads=2) == expected


@pytest.mark.parametrize(
    ("in_flight", "waiting", "gives_way"), [(8, 0, True), (9, 0, False), (4, 5, False), (4, 4, True)]
)
def test_a_busy_instance_stays_while_its_queue_is_longer_than_others_have_waited(in_flight, waiting, gives_way):
    resident = awake("a", in_flight=in_flight, waiting=waiting)
    plan = actions(resident, asleep("b", waiting=1, oldest=8.0))
    assert (plan["a"] == "release") == gives_way


def test_the_factor_of_the_setting_counts():
    instances = awake("a", in_flight=9), asleep("b", waiting=1, oldest=8.0)
    assert actions(*instances, stay_factor=2.0)["a"] == "release"


def test_an_instance_that_gives_way_goes_on_although_requests_arrive():
    resident = awake("a", in_flight=3, waiting=50, status="draining", releasing_for="b:server")
    assert actions(resident, asleep("b", waiting=1, oldest=5.0))["a"] == "release"


def test_what_waits_is_told_what_delays_the_one_that_gives_way():
    resident = awake("a", in_flight=1, status="draining", releasing_for="b:server", delay="1 requests in flight")
    expected = "a (1 requests in flight) gives way; needs 30 GB on 1 GPU; host-a GPU 0 has 10 GB of 40 GB free, "
    assert reason("b", resident, asleep("b", waiting=1, oldest=5.0)) == expected + "held by a (busy)"


def test_an_instance_stays_when_the_demand_for_its_place_lapses():
    resident = awake("a", status="draining", releasing_for="b:server")
    assert actions(resident, asleep("b")) == {"a": "stay", "b": "stay"}


def test_the_fewest_victims_are_chosen():
    small = [awake("a", memory=10), awake("b", memory=10)]
    plan = actions(*small, awake("c", memory=20, idle=10.0), asleep("d", waiting=1, memory=20))
    assert plan == {"a": "stay", "b": "stay", "c": "release", "d": "wait"}


def test_among_idle_instances_the_least_used_gives_way():
    residents = awake("a", on=(0,), use_share=0.5, idle=900.0), awake("b", gpus=(1,), use_share=0.1, idle=20.0)
    assert actions(*residents, asleep("c", gpus=(), count=1, waiting=1), sizes=(40, 40))["b"] == "release"


def test_counted_gpus_are_those_where_the_memory_fits_best():
    residents = awake("a", gpus=(0,), memory=5), awake("b", gpus=(1,), memory=10)
    instances = (*residents, asleep("c", gpus=(), count=1, waiting=1))
    assert make_plan(host(*instances, sizes=(40, 40))).decisions["c:server"].gpus == (1,)


def test_an_instance_of_two_gpus_needs_both():
    residents = awake("a", gpus=(0,)), awake("b", gpus=(1,), in_flight=9)
    instances = (*residents, asleep("c", gpus=(0, 1), waiting=1, oldest=5.0))
    assert actions(*instances, sizes=(40, 40)) == {"a": "stay", "b": "stay", "c": "wait"}
    residents = awake("a", gpus=(0,)), awake("b", gpus=(1,), in_flight=2)
    plan = actions(*residents, instances[2], sizes=(40, 40))
    assert plan == {"a": "release", "b": "release", "c": "wait"}


def test_one_instance_loads_at_a_time_and_the_oldest_demand_comes_first():
    wanted = asleep("a", waiting=1, oldest=1.0), asleep("b", gpus=(1,), waiting=1, oldest=2.0)
    assert actions(*wanted, sizes=(40, 40)) == {"a": "wait", "b": "start"}
    assert reason("a", *wanted, sizes=(40, 40)) == "b loads first"
    assert actions(*wanted, sizes=(40, 40), parallel_loads=2) == {"a": "start", "b": "start"}


def test_what_becomes_free_is_kept_for_the_one_that_has_waited_longest():
    resident = awake("a", memory=20, in_flight=50)
    large, small = asleep("b", memory=40, waiting=1, oldest=9.0), asleep("c", memory=20, waiting=1, oldest=1.0)
    assert actions(resident, large, small) == {"a": "stay", "b": "wait", "c": "wait"}


def test_an_instance_without_any_place_holds_up_nobody():
    never = asleep("a", memory=50, waiting=1, oldest=99.0)
    assert actions(never, asleep("b", waiting=1)) == {"a": "wait", "b": "start"}
    assert reason("a", never) == "needs 50 GB on 1 GPU; host-a GPU 0 has 40 GB in all"
    absent = asleep("a", gpus=(3,), waiting=1)
    assert reason("a", absent, sizes=(40, 40)) == "GPU 3 is not there: host-a has GPU 0, 1"


def test_an_instance_that_failed_to_load_waits_and_holds_up_nobody():
    failed = asleep("a", waiting=1, oldest=99.0, pause_seconds=7.0, failure="it failed to load: code 1")
    assert actions(failed, asleep("b", waiting=1)) == {"a": "wait", "b": "start"}
    assert reason("a", failed) == "it failed to load: code 1; another try in 7 s"


def test_memory_of_other_processes_is_named():
    wanted = asleep("a", waiting=1)
    expected = "needs 30 GB on 1 GPU; host-a GPU 0 has 20 GB of 40 GB free, held by other processes (20 GB)"
    assert reason("a", wanted, foreign=20) == expected


@pytest.mark.parametrize("memory", [0, 10])
def test_a_gpu_of_unknown_size_holds_one_instance(memory):
    plan = actions(
        awake("a", memory=10, in_flight=9), asleep("b", memory=memory, waiting=1), sizes=(None,), measured=False
    )
    assert plan == {"a": "stay", "b": "wait"}


def test_an_instance_without_resources_needs_no_place():
    assert actions(awake("a", memory=40, in_flight=9), asleep("b", gpus=(), waiting=1)) == {"a": "stay", "b": "start"}


def test_a_sleeping_engine_holds_no_memory_and_is_woken():
    engine = asleep("a", phase="asleep", sleep="vllm", waiting=1)
    assert actions(engine) == {"a": "wake"}
    assert actions(asleep("a", phase="asleep", sleep="vllm"), asleep("b", waiting=1))["b"] == "start"


@pytest.mark.parametrize(("waiting", "action"), [(0, "release"), (1, "stay")])
def test_an_instance_is_put_to_sleep_on_request_unless_requests_wait_for_it(waiting, action):
    assert actions(awake("a", keep=True, sleep=True, waiting=waiting)) == {"a": action}
