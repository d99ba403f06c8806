"""Which of the offered instances are woken."""

import itertools
import random

import pytest

from svc.router.waking.answers import WakeOffer
from svc.router.waking.choice import choose, why_impossible

BUSY = WakeOffer(True, now=False, seconds=1, status="asleep")
FREE = WakeOffer(True, now=True, seconds=50, status="asleep")
NEVER = WakeOffer(False, reason="needs 38 GB, GPU 0 has 24 GB")


def test_the_cheapest_is_chosen():
    starting = WakeOffer(True, seconds=99, status="starting")
    assert choose({"a": FREE, "b": starting}, (), 1) == ("b",), "one that is being woken already"
    assert choose({"a": BUSY, "b": FREE}, (), 1) == ("b",), "one for which none has to give way"
    assert choose({"a": FREE, "b": WakeOffer(True, now=True, seconds=49)}, (), 1) == ("b",)
    idle = [WakeOffer(True, seconds=5, idle_seconds=seconds) for seconds in (10, 20)]
    assert choose({"a": idle[0], "b": idle[1]}, (), 1) == ("b",)
    assert choose({"b": FREE, "a": FREE}, (), 1) == ("a",)
    assert choose({"a": NEVER, "b": NEVER}, (), 1) == ()
    assert choose({"a": FREE, "b": BUSY, "c": NEVER}, (), 5) == ("a", "b")


def test_what_may_become_possible_is_chosen_if_nothing_else_is():
    later = WakeOffer(False, later=True, status="asleep", reason="kept awake")
    assert choose({"a": later, "b": NEVER}, (), 1) == ("a",)
    assert choose({"a": later, "b": BUSY}, (), 1) == ("b",)
    assert choose({"a": later, "b": BUSY}, ("a",), 1) == ("b",)
    assert why_impossible({"a": later, "b": NEVER}) == ""


def test_the_choice_does_not_depend_on_the_order_of_the_offers():
    draw = random.Random(7)
    for _ in range(50):
        offers = {
            name: WakeOffer(draw.random() < 0.8, draw.random() < 0.5, draw.choice((1, 2)), draw.choice((1, 2)))
            for name in "abcd"
        }
        chosen = {choose(dict(order), (), 2) for order in itertools.permutations(offers.items())}
        assert len(chosen) == 1


def test_a_choice_stays_unless_another_could_be_woken_at_once():
    slower = WakeOffer(True, now=True, seconds=99, status="asleep")
    assert choose({"a": FREE, "b": slower}, ("b",), 1) == ("b",)
    assert choose({"a": BUSY, "b": WakeOffer(True, seconds=9, status="asleep")}, ("b",), 1) == ("b",)
    assert choose({"a": FREE, "b": BUSY}, ("b",), 1) == ("a",)
    assert choose({"a": FREE, "b": WakeOffer(True, status="starting")}, ("b",), 1) == ("b",)
    assert choose({"a": FREE, "b": NEVER}, ("b",), 1) == ("a",)


def test_why_no_instance_can_be_woken():
    assert why_impossible({"a": NEVER, "b": NEVER}) == NEVER.reason
    assert why_impossible({"a": NEVER, "b": WakeOffer(False)}) == f"{NEVER.reason}; b cannot be woken"
    assert why_impossible({"a": NEVER, "b": BUSY}) == why_impossible({}) == ""


@pytest.mark.parametrize(("seconds", "chosen"), [(51, "a"), (49, "b")])
def test_a_choice_that_waits_is_left_for_one_that_is_ready_much_sooner(seconds, chosen):
    offers = {"a": WakeOffer(True, seconds=60, status="asleep"), "b": WakeOffer(True, seconds=seconds, status="asleep")}
    assert choose(offers, ("a",), 1) == (chosen,)


def test_a_choice_that_loads_is_not_left():
    offers = {"a": WakeOffer(True, seconds=60, status="starting"), "b": WakeOffer(True, seconds=1, status="asleep")}
    assert choose(offers, ("a",), 1) == ("a",)
