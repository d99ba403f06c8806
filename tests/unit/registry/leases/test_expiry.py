"""The decision which leases end, simulated second by second."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from svc.registry.leases import lease
from svc.registry.leases.expiry import WINDOW_SECONDS, LeaseExpiry, is_mass_expiry
from tests.unit.registry.services import NOW, service


class Simulation:
    """Services that send heartbeats, and a registry that decides every second which leases end."""

    def __init__(self, ages, lease_seconds=90.0):
        """`ages` are the times since the last heartbeat of each service, in heartbeat intervals."""
        self.now = NOW
        self.interval = lease_seconds / 3
        self.services = {
            f"s{n}": service(f"s{n}", last_heartbeat=NOW - age * self.interval, lease_seconds=lease_seconds)
            for n, age in enumerate(ages)
        }
        self.expiry = LeaseExpiry(NOW - 10_000)
        self.expiry.decide([], NOW - 1)  # the first round is after a gap, so leases start anew
        self.expiry.listening_since = NOW - 10_000
        self.silent = set()
        self.most_kept = 0

    def run(self, seconds, on_expired=lambda name: None):
        for _ in range(int(seconds)):
            self.now += 1
            self.send_heartbeats()
            self.run_round(on_expired)

    def send_heartbeats(self):
        for name, known in self.services.items():
            if name not in self.silent and self.now - known.last_heartbeat >= self.interval:
                self.services[name] = lease.after_heartbeat(known, self.now, None)

    def run_round(self, on_expired=lambda name: None):
        decision = self.expiry.decide(list(self.services.values()), self.now)
        for ending in decision.ending:
            self.services[ending.name] = lease.expire_if_lapsed(ending, self.now, self.expiry.listening_since)
            on_expired(ending.name)
        self.kept = {kept.name for kept in decision.kept}
        self.most_kept = max(self.most_kept, len(self.kept))

    def shift_clock(self, seconds):
        self.now += seconds
        self.services = {name: lease.limit_heartbeat_to_now(known, self.now) for name, known in self.services.items()}

    def expired(self):
        return {name for name, known in self.services.items() if known.expired}


ages = st.lists(st.floats(0, 1), min_size=1, max_size=60)
leases = st.sampled_from([30.0, 45.0, 90.0, 180.0])


@settings(deadline=None, max_examples=60)
@given(ages=ages, lease_seconds=leases, data=st.data())
def test_an_outage_of_many_ends_no_lease_and_one_of_few_ends_theirs(ages, lease_seconds, data):
    simulation = Simulation(ages, lease_seconds)
    cut_off = data.draw(st.sets(st.sampled_from(sorted(simulation.services))))
    simulation.silent = set(cut_off)
    many = len(cut_off) >= 3 and len(cut_off) > 0.15 * len(ages)
    simulation.run(lease_seconds + 2)
    assert simulation.expired() == (set() if many else cut_off)
    assert simulation.kept == (cut_off if many else set())
    simulation.run(3 * WINDOW_SECONDS)
    assert simulation.kept == (cut_off if many else set()), "for as long as the outage lasts"


@settings(deadline=None, max_examples=30)
@given(ages=st.lists(st.floats(0, 1), min_size=3, max_size=40), lease_seconds=leases)
def test_no_lease_has_ended_when_the_heartbeats_return(ages, lease_seconds):
    simulation = Simulation(ages, lease_seconds)
    simulation.silent = set(simulation.services)
    simulation.run(lease_seconds + 200)
    assert simulation.kept == set(simulation.services)
    simulation.silent = set()
    simulation.run(simulation.interval + 1)
    assert (simulation.kept, simulation.expired()) == (set(), set())


@settings(deadline=None)
@given(ages=ages, lease_seconds=leases)
def test_without_an_outage_no_lease_lapses(ages, lease_seconds):
    simulation = Simulation(ages, lease_seconds)
    simulation.run(3 * lease_seconds)
    assert (simulation.expired(), simulation.most_kept) == (set(), 0)


@given(silent=st.integers(0, 50), live=st.integers(0, 50), gone=st.integers(0, 50))
def test_a_mass_expiry_is_more_than_a_share_and_at_least_three(silent, live, gone):
    live_service = service(lease_seconds=90)
    services = [replace(live_service, last_heartbeat=NOW - 80)] * silent + [live_service] * live
    services += [replace(live_service, last_heartbeat=NOW - 100, expired=True)] * gone
    services += [replace(live_service, last_heartbeat=NOW - 1000, expired=True)] * 7  # long ago
    lost = silent + gone
    assert is_mass_expiry(services, NOW, listening_since=0) == (lost >= 3 and lost > 0.15 * (lost + live))


def test_static_services_are_no_mass_expiry():
    static = service(lease_seconds=90, last_heartbeat=NOW - 80, metadata={"static": True})
    assert not is_mass_expiry([static] * 5, NOW, listening_since=0)


def outage(of=20, lost=8):
    simulation = Simulation([n / of for n in range(of)])
    simulation.silent = {f"s{n}" for n in range(lost)}
    return simulation


def test_the_few_that_do_not_return_end_a_window_later():
    simulation = outage()
    simulation.run(100)
    assert len(simulation.kept) == 8
    simulation.silent = {"s0", "s1"}
    simulation.run(32)
    assert simulation.kept == {"s0", "s1"}, "the others may only just have returned"
    simulation.run(WINDOW_SECONDS)
    assert (simulation.expired(), simulation.kept) == ({"s0", "s1"}, set())


def test_release_ends_kept_leases_and_those_that_lapse_meanwhile():
    simulation = outage()
    simulation.run(83)
    assert 0 < len(simulation.kept) < 8, "the rest lapses soon"
    simulation.expiry.allow_endings(simulation.now)
    simulation.run(40)
    assert (simulation.expired(), simulation.kept) == (simulation.silent, set())


def test_many_leases_that_lapse_one_by_one_end():
    simulation = Simulation([n / 20 for n in range(20)])
    for name in ("s0", "s1", "s2", "s3", "s4"):
        simulation.silent.add(name)
        simulation.run(151)
        assert simulation.expired() == simulation.silent


@pytest.mark.parametrize("jump", [3600, 60, -60, -3600])
def test_a_clock_jump_ends_no_live_lease_and_hides_no_lapse(jump):
    simulation = Simulation([0.1, 0.5, 0.9])
    simulation.run(10)
    simulation.shift_clock(jump)
    simulation.run(30)
    assert (simulation.expired(), simulation.most_kept) == (set(), 0)
    simulation.silent = {"s0"}
    simulation.run(92)
    assert simulation.expired() == {"s0"}


def test_a_jump_back_of_the_clock_does_not_keep_leases_longer():
    simulation = outage()
    simulation.run(100)
    assert simulation.kept
    simulation.shift_clock(-3600)
    simulation.silent = {"s0"}
    simulation.run(92)
    assert (simulation.expired(), simulation.kept) == ({"s0"}, set())


def test_after_a_restart_of_the_registry_each_service_has_a_lease():
    simulation = Simulation([0] * 4)
    simulation.services = {n: replace(known, last_heartbeat=NOW - 5000) for n, known in simulation.services.items()}
    simulation.expiry = LeaseExpiry(NOW)
    simulation.silent = {"s0", "s1"}
    simulation.send_heartbeats()
    simulation.run(89)
    assert simulation.expired() == set()
    simulation.run(2)
    assert simulation.expired() == {"s0", "s1"}


def test_a_decision_lists_ending_and_kept_leases():
    decision = LeaseExpiry(NOW).decide([service()], NOW + 1)
    assert dataclasses.astuple(decision) == ([], [], 1)
