from svc.supervision.on_demand.instance_facts import Offer
from svc.supervision.on_demand.offer import make_offer
from tests.unit.supervision.on_demand.hosts import asleep, awake, host


def offer(name, *instances, **fields):
    return make_offer(host(*instances, **fields), f"{name}:server")


def test_free_memory_costs_only_the_load():
    assert offer("a", asleep("a", load_seconds=20.0)) == Offer(True, True, seconds=20.0)


def test_a_victim_costs_its_next_load_which_is_less_if_it_is_seldom_used():
    wanted = asleep("a", load_seconds=20.0)
    busy = offer("a", wanted, awake("b", load_seconds=30.0, idle=0.0))
    idle = offer("a", wanted, awake("b", load_seconds=30.0, idle=270.0))
    stays = 60.0  # it was used a moment ago
    assert (busy.now, busy.victims, busy.seconds) == (False, ("b:server",), 50.0 + stays)
    assert (idle.seconds, idle.idle_seconds) == (23.0, 270.0)


def test_who_has_waited_longer_gets_the_free_place():
    instances = asleep("a", load_seconds=20.0), asleep("b", waiting=1, oldest=5.0, load_seconds=9.0)
    assert not offer("a", *instances).possible
    assert offer("b", *instances).now


def test_the_rest_of_a_load_is_waited_for():
    loading = awake("b", gpus=(1,), phase="loading", seconds=10.0, load_seconds=30.0)
    assert offer("a", asleep("a", load_seconds=20.0), loading, sizes=(40, 40)).seconds == 40.0


def test_what_is_awake_or_loads_costs_nothing_more():
    assert offer("a", awake("a")).seconds == 0
    assert offer("a", awake("a", phase="loading", seconds=10.0, load_seconds=30.0)).seconds == 20.0


def test_an_impossible_wake_says_why():
    kept = offer("a", asleep("a"), awake("b", keep=True))
    assert not kept.possible
    assert kept.reason.endswith("held by b (keep = true)")
    failed = offer("a", asleep("a", pause_seconds=5.0, failure="it failed to load"))
    assert (failed.possible, failed.reason) == (False, "it failed to load; another try in 5 s")
