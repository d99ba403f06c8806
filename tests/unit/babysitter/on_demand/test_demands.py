"""Demands as leases: several senders, and what is left when some of them are silent."""

import msgspec
import pytest

from svc.babysitter.on_demand.demands import MAX_SENDERS, Demands, WakeRequest
from svc.supervision.on_demand.instance_facts import Demand


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def demands(clock):
    return Demands(clock)


def test_nobody_wants_anything_at_first(demands):
    assert demands.current() is None


def test_what_waits_at_several_routers_is_added_and_the_oldest_counts(demands, clock):
    demands.renew(WakeRequest(waiting=3, oldest=1.5, by="a"))
    demands.renew(WakeRequest(waiting=4, oldest=9.0, by="b"))
    clock.now += 1
    assert demands.current() == Demand(7, 10.0, 0.0)


def test_a_demand_ends_three_seconds_after_its_last_renewal(demands, clock):
    for _ in range(5):
        demands.renew(WakeRequest(waiting=1, by="a"))
        clock.now += 2.9
        assert demands.current() is not None
    clock.now += 0.2
    assert demands.current() is None


def test_a_renewal_replaces_what_the_same_router_sent_before(demands):
    demands.renew(WakeRequest(waiting=9, by="a"))
    demands.renew(WakeRequest(waiting=2, by="a"))
    assert demands.current().waiting == 2


def test_a_router_whose_requests_are_served_ends_its_demand(demands):
    demands.renew(WakeRequest(waiting=9, by="a"))
    demands.renew(WakeRequest(waiting=0, by="a"))
    assert demands.current() is None


def test_a_hold_outlives_the_demands_of_its_sender_and_ends_by_itself(demands, clock):
    demands.renew(WakeRequest(hold=60.0, by="a"))
    demands.renew(WakeRequest(waiting=1, by="a"))
    clock.now += 10
    assert demands.current() == Demand(0, 0.0, 50.0)
    clock.now += 50
    assert demands.current() is None


def test_the_longest_hold_counts_and_a_sender_can_end_its_own(demands):
    demands.renew(WakeRequest(hold=60.0, by="a"))
    demands.renew(WakeRequest(hold=30.0, by="b"))
    assert demands.current().hold == 60
    demands.renew(WakeRequest(hold=0.0, by="a"))
    assert demands.current().hold == 30


def test_many_invented_names_do_not_grow_without_bound(demands):
    demands.renew(WakeRequest(hold=3600.0, by="operator"))
    for number in range(10 * MAX_SENDERS):
        demands.renew(WakeRequest(waiting=1, by=f"x{number}"))
    assert demands.current().waiting <= MAX_SENDERS
    assert demands.current().hold == 3600  # those that end first were replaced


def test_an_operator_s_sleep_forgets_all_demands(demands):
    demands.renew(WakeRequest(waiting=1, hold=5.0, by="a"))
    demands.clear()
    assert demands.current() is None


@pytest.mark.parametrize(
    "body",
    [
        '{"waiting": -1}',
        '{"waiting": 1.5}',
        '{"hold": -1}',
        '{"hold": 1e999}',
        '{"oldest": "x"}',
        '{"by": 1}',
        f'{{"by": "{"x" * 200}"}}',
        "[]",
        "[" * 100_000,
    ],
)
def test_what_is_no_demand_is_refused(body):
    with pytest.raises((ValueError, RecursionError)):
        msgspec.json.decode(body, type=WakeRequest)


def test_what_waited_is_served_when_the_instance_is_ready_and_a_hold_goes_on(demands):
    demands.renew(WakeRequest(waiting=5, hold=60.0, by="a"))
    demands.end_waiting()
    assert demands.current() == Demand(0, 0.0, 60.0)
    demands.renew(WakeRequest(waiting=2, by="a"))
    assert demands.current().waiting == 2
