from collections import Counter

import pytest

from svc.base.errors import Unavailable
from svc.config.upstream_keys import UpstreamKeys
from svc.router.balance.routing_request import RoutingRequest
from svc.router.state import RouterState
from tests.unit.router.made import Clock, state, target

M = RoutingRequest("m")
A, B = target("a", "m"), target("b", "m")


def test_pick_and_its_errors():
    made = state(target("a", "m"), target("b", "m", status="draining"))
    assert made.pick(M).name == "a"
    assert made.pick(RoutingRequest()).name == "a"
    assert made.pick(M, ("a",)) is None
    with pytest.raises(Unavailable, match=r"^No healthy services available for model 'x'$"):
        made.pick(RoutingRequest("x"))
    with pytest.raises(Unavailable, match=r"^No healthy services available$"):
        state().pick(RoutingRequest())


def test_keys_of_instances_are_those_of_the_file_as_it_is_now():
    made = state(target("a", "m"), target("b", "n", "m"), target("c"))
    keys = lambda: {t.name: t.key for t in made.table.targets}  # noqa: E731
    made.set_upstream_keys(UpstreamKeys({"a": "of-a"}, {"m": "of-m"}))
    assert keys() == {"a": "of-a", "b": "of-m", "c": ""}
    made.replace([target("a", "m"), target("d", "m")])
    assert keys() == {"a": "of-a", "d": "of-m"}
    made.set_upstream_keys(UpstreamKeys())
    assert keys() == {"a": "", "d": ""}


def test_no_clients_key_goes_to_a_service_whose_models_are_unknown():
    """A key under [models] may be its own, once its list of models can be read."""
    made = state(target("a", discovers_models=True), target("b", "m", discovers_models=True), target("c"))
    hidden = lambda: {t.name for t in made.table.targets if t.authorization == b""}  # noqa: E731
    assert hidden() == set()
    made.set_upstream_keys(UpstreamKeys({}, {"n": "of-n"}))
    assert hidden() == {"a"}
    made.set_upstream_keys(UpstreamKeys({"a": "of-a"}, {"n": "of-n"}))
    assert hidden() == set()


def test_an_instance_with_another_key_is_judged_afresh():
    made = state(target("a", "m"), max_errors=1, max_ejected=1)
    made.begin(A)
    made.observe(A, 1.0, failed=True, faulty="it refuses the key")
    assert made.table.candidates == frozenset()
    made.set_upstream_keys(UpstreamKeys({"a": "right"}))
    assert made.table.candidates == {"a"}


def test_turns_go_on_when_the_table_is_made_anew():
    made = state(target("a", "m"), target("b", "m"))
    found = Counter()
    for _ in range(10):
        found[made.pick(M).name] += 1
        made.replace(made.table.targets)
    assert found == {"a": 5, "b": 5}


def test_counts_come_back_to_zero_and_outlive_the_instances_absence():
    made = state(target("a", "m"))
    made.begin(A)
    made.replace([])
    assert made.loads == {"a": 1}
    made.replace([target("a", "m")])
    made.observe(A, 2.0, failed=False)
    made.begin(A)
    made.observe(A, 4.0, failed=True)
    assert made.loads == {"a": 0}
    tally = made.tallies["a"]
    assert (tally.requests, tally.errors, tally.response_time()) == (2, 1, 3.0)


def test_nothing_is_left_of_those_who_left():
    made = state()
    for n in range(50):
        one = target(f"i{n}", f"m{n}", metadata={"cache_type": "paged"})
        made.replace([one, target(f"checked{n}")])
        made.begin(one, counts_for_budget=True)
        made.pick(RoutingRequest(f"m{n}"))
        made.pick(RoutingRequest())
        made.observe(one, 1.0, failed=True, faulty="Connection refused", counts_for_budget=True)
        made.checked(f"checked{n}", well=False)
    made.replace([])
    assert (made.loads, made.tallies, made.fitness) == ({}, {}, {})
    assert len(made._turns) <= 2  # noqa: SLF001 - those of all models together
    assert made.table.by_model == {}


def fail(made: RouterState, times: int = 1) -> None:
    for _ in range(times):
        made.begin(A)
        made.observe(A, 0, failed=True, faulty="Connection refused")


def test_faulty_three_times_in_a_row_is_ejected():
    made = state(A, B, max_errors=3)
    fail(made, 2)
    made.begin(A)
    made.observe(A, 0, failed=False)  # an answer: the row begins anew
    fail(made, 2)
    assert made.table.candidates == {"a", "b"}
    fail(made)
    assert made.table.candidates == {"b"}
    made.begin(A)
    made.observe(A, 0, failed=False)  # of a request that was begun before
    assert made.table.candidates == {"b"}


def test_one_trial_request_brings_it_back():
    clock = Clock()
    made = state(A, B, clock=clock, max_errors=1)
    fail(made)
    made.now = clock.now = clock.now + 10
    made.sweep()
    assert made.table.candidates == {"a", "b"}
    made.begin(A)
    assert made.table.candidates == {"b"}, "while one tries, nobody else does"
    made.observe(A, 0, failed=False)
    assert made.table.candidates == {"a", "b"}


def test_a_trial_that_the_client_left_is_made_again():
    clock = Clock()
    made = state(A, B, clock=clock, max_errors=1)
    fail(made)
    made.now = clock.now = clock.now + 10
    made.sweep()
    made.begin(A)
    made.observe(A, 0, failed=False, faulty=None)
    assert made.table.candidates == {"a", "b"}


def test_errors_of_the_instance_do_not_take_it_out():
    made = state(target("a", "m"), max_errors=1)
    for _ in range(9):
        made.begin(A)
        made.observe(A, 0, failed=True)
    assert made.table.candidates == {"a"}


def test_our_own_check_outweighs_the_registrys():
    made = state(target("a", "m", well=False), target("b", "m", well=True), max_errors=1)
    assert made.table.candidates == {"b"}
    made.checked("a", well=True)
    made.checked("b", well=False)
    assert made.table.candidates == {"a"}
    made.replace(made.table.targets)
    assert made.table.candidates == {"a"}


def test_checks_that_fail_in_a_row_take_it_out_and_two_good_ones_bring_it_back():
    made = state(A, max_errors=3)
    for well in (True, False, False, True, False, False):
        made.checked("a", well)
    assert made.table.candidates == {"a"}
    made.checked("a", well=False)
    assert not made.table.candidates
    made.checked("a", well=True)
    assert not made.table.candidates
    made.checked("a", well=True)
    assert made.table.candidates == {"a"}


def test_where_all_are_unwell_they_are_tried_all_the_same():
    made = state(A, max_errors=1)
    made.checked("a", well=False)
    assert made.pick(M) == A


@pytest.mark.parametrize("anew", [{"url": "http://other:1"}, {"status": "running"}])
def test_an_instance_that_starts_anew_is_judged_anew(anew: dict[str, str]):
    made = state(target("a", "m"), max_errors=1)
    made.checked("a", well=False)
    made.replace([target("a", "m")])
    assert not made.table.candidates
    made.replace([target("a", "m", status="starting")])
    made.replace([target("a", "m", **anew)])
    assert made.table.candidates == {"a"}


def test_request_ids_are_all_different():
    made, other = state(), state()
    assert len({s.request_id() for s in (made, other) for _ in range(100)}) == 200


@pytest.mark.parametrize(
    ("before", "after", "back"),
    [
        ({}, {}, False),
        ({"well": False}, {"well": True}, False),  # the registry's checks are not ours
        ({"drained": True}, {}, False),
        ({"heard": False}, {}, True),
        ({"registered": "1"}, {"registered": "2"}, True),
        ({"status": "starting"}, {}, True),
        ({}, {"url": "http://elsewhere:1"}, True),
    ],
)
def test_an_instance_that_is_back_is_judged_afresh_and_one_that_never_left_is_not(before, after, back):
    made = state(target("a", "m", **before))
    for _ in range(3):
        made.checked("a", well=False)
    assert not made.table.candidates
    made.replace([target("a", "m", **after)])
    assert made.table.candidates == ({"a"} if back else set())


def test_a_first_check_may_decide_alone():
    made = state(target("a", "m"), target("b", "m"), max_errors=3)
    made.checked("a", well=False)
    made.checked("b", well=False, first_decides=True)
    assert made.table.candidates == {"a"}
    made.checked("b", well=True, first_decides=True)
    made.checked("b", well=True, first_decides=True)
    assert made.table.candidates == {"a", "b"}
    made.checked("b", well=False, first_decides=True)
    assert made.table.candidates == {"a", "b"}
