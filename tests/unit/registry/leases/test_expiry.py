"""Which leases end, played second by second."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from svc.registry.leases import lease
from svc.registry.leases.expiry import WINDOW_SECONDS, LeaseExpiry, is_mass_expiry
from tests.unit.registry.services import NOW, service


class Play:
    """Services that heartbeat, a registry that looks every second, and what it does to them."""

    def __init__(self, ages, lease_seconds=90.0):
        """`ages`: how long ago each was heard of, in shares of a heartbeat interval."""
        self.now = NOW
        self.interval = lease_seconds / 3
        self.services = {
            f"s{n}": service(f"s{n}", last_heartbeat=NOW - age * self.interval, lease_seconds=lease_seconds)
            for n, age in enumerate(ages)
        }
        self.expiry = LeaseExpiry(NOW - 10_000)
        self.expiry.decide([], NOW - 1)  # begins to listen then, after a gap
        self.expiry.since = NOW - 10_000
        self.silent = set()
        self.most_kept = 0

    def run(self, seconds, on_expired=lambda name: None):
        for _ in range(int(seconds)):
            self.now += 1
            self.beat()
            self.look(on_expired)

    def beat(self):
        for name, one in self.services.items():
            if name not in self.silent and self.now - one.last_heartbeat >= self.interval:
                self.services[name] = lease.renew(one, self.now, None)

    def look(self, on_expired=lambda name: None):
        verdict = self.expiry.decide(list(self.services.values()), self.now)
        for one in verdict.ending:
            self.services[one.name] = lease.expire_if_lapsed(one, self.now, self.expiry.since)
            on_expired(one.name)
        self.kept = {one.name for one in verdict.kept}
        self.most_kept = max(self.most_kept, len(self.kept))

    def expired(self):
        return {name for name, one in self.services.items() if one.expired}


ages = st.lists(st.floats(0, 1), min_size=1, max_size=60)
leases = st.sampled_from([30.0, 45.0, 90.0, 180.0])


@settings(deadline=None, max_examples=60)
@given(ages=ages, lease_seconds=leases, data=st.data())
def test_a_cut_that_takes_many_costs_nobody_and_one_that_takes_few_ends_them(ages, lease_seconds, data):
    play = Play(ages, lease_seconds)
    cut = data.draw(st.sets(st.sampled_from(sorted(play.services))))
    play.silent = set(cut)
    many = len(cut) >= 3 and len(cut) > 0.15 * len(ages)
    play.run(lease_seconds + 2)
    assert play.expired() == (set() if many else cut)
    assert play.kept == (cut if many else set())
    play.run(3 * WINDOW_SECONDS)
    assert play.kept == (cut if many else set()), "for as long as it lasts"


@settings(deadline=None, max_examples=30)
@given(ages=st.lists(st.floats(0, 1), min_size=3, max_size=40), lease_seconds=leases)
def test_when_the_heartbeats_return_nobody_was_lost_and_it_is_over(ages, lease_seconds):
    play = Play(ages, lease_seconds)
    play.silent = set(play.services)
    play.run(lease_seconds + 200)
    assert play.kept == set(play.services)
    play.silent = set()
    play.run(play.interval + 1)
    assert (play.kept, play.expired()) == (set(), set())


@settings(deadline=None)
@given(ages=ages, lease_seconds=leases)
def test_without_a_fault_nothing_ever_lapses(ages, lease_seconds):
    play = Play(ages, lease_seconds)
    play.run(3 * lease_seconds)
    assert (play.expired(), play.most_kept) == (set(), 0)


@given(silent=st.integers(0, 50), live=st.integers(0, 50), gone=st.integers(0, 50))
def test_the_rule_is_more_than_a_share_and_at_least_three(silent, live, gone):
    one = service(lease_seconds=90)
    services = [replace(one, last_heartbeat=NOW - 80)] * silent + [one] * live
    services += [replace(one, last_heartbeat=NOW - 100, expired=True)] * gone
    services += [replace(one, last_heartbeat=NOW - 1000, expired=True)] * 7  # long ago
    lost = silent + gone
    assert is_mass_expiry(services, NOW, since=0) == (lost >= 3 and lost > 0.15 * (lost + live))


def cut(of=20, lost=8):
    play = Play([n / of for n in range(of)])
    play.silent = {f"s{n}" for n in range(lost)}
    return play


def test_when_most_return_the_few_that_stay_away_end_a_window_later():
    play = cut()
    play.run(100)
    assert len(play.kept) == 8
    play.silent = {"s0", "s1"}
    play.run(32)
    assert play.kept == {"s0", "s1"}, "the others may only just have returned"
    play.run(WINDOW_SECONDS)
    assert (play.expired(), play.kept) == ({"s0", "s1"}, set())


def test_an_operators_word_ends_them_with_those_that_lapse_meanwhile():
    play = cut()
    play.run(83)
    assert 0 < len(play.kept) < 8, "the rest lapses soon"
    play.expiry.release(play.now)
    play.run(40)
    assert (play.expired(), play.kept) == (play.silent, set())


def test_many_that_end_one_by_one_over_a_long_time_are_believed():
    play = Play([n / 20 for n in range(20)])
    for name in ("s0", "s1", "s2", "s3", "s4"):
        play.silent.add(name)
        play.run(151)
        assert play.expired() == play.silent


@pytest.mark.parametrize("jump", [3600, 60, -60, -3600])
def test_a_clock_that_jumps_ends_no_lease_of_the_living_and_hides_no_death(jump):
    play = Play([0.1, 0.5, 0.9])
    play.run(10)
    play.now += jump
    play.services = {name: lease.limit_heartbeat_to_now(one, play.now) for name, one in play.services.items()}
    play.run(30)
    assert (play.expired(), play.most_kept) == (set(), 0)
    play.silent = {"s0"}
    play.run(92)
    assert play.expired() == {"s0"}


def test_a_jump_back_does_not_keep_for_as_long():
    play = cut()
    play.run(100)
    assert play.kept
    play.now -= 3600
    play.services = {name: lease.limit_heartbeat_to_now(one, play.now) for name, one in play.services.items()}
    play.silent = {"s0"}
    play.run(92)
    assert (play.expired(), play.kept) == ({"s0"}, set())


def test_what_was_silent_while_the_registry_was_away_has_a_whole_lease():
    play = Play([0] * 4)
    play.services = {n: replace(one, last_heartbeat=NOW - 5000) for n, one in play.services.items()}
    play.expiry = LeaseExpiry(NOW)
    play.silent = {"s0", "s1"}
    play.beat()
    play.run(89)
    assert play.expired() == set()
    play.run(2)
    assert play.expired() == {"s0", "s1"}


def test_a_verdict_is_a_value():
    verdict = LeaseExpiry(NOW).decide([service()], NOW + 1)
    assert dataclasses.astuple(verdict) == ([], [], 1)
