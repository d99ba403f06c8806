import pytest
from msgspec.structs import replace

from svc.base.errors import Unavailable
from svc.registry.heartbeats import renew_lease
from svc.registry.leases.sweep import LeaseSweep, ServiceCleanup
from svc.registry.store.sqlite import SqliteStore
from tests.unit.registry.services import NOW, service


@pytest.fixture
def store(tmp_path):
    store = SqliteStore(tmp_path / "registry.db")
    yield store
    store.close()


def put(store, *services):
    for added in services:
        store.change(added.name, lambda old, new=added: new)


def test_silent_services_expire_and_each_raises_the_revision(store):
    put(store, service("silent", lease_seconds=30), service("live", lease_seconds=50))
    now = [NOW]
    sweep = LeaseSweep(store, lambda: now[0])
    for moment in range(1, 51):
        now[0] = NOW + moment
        sweep.run_round()
        assert names(store) == ["silent"] * (moment >= 30) + ["live"] * (moment >= 50)
    assert store.snapshot()[0] == 4


def names(store):
    return sorted((s.name for s in store.snapshot()[1] if s.expired), reverse=True)


@pytest.fixture
def kept(store):
    """Return the sweep of four services that fell silent at once, after their leases have lapsed."""
    put(store, *(service(f"s{n}", lease_seconds=30) for n in range(4)))
    now, ended = [NOW], []
    sweep = LeaseSweep(store, lambda: now[0], lambda: ended.append(1))
    sweep.now, sweep.ended = now, ended
    run_rounds(sweep, 40)
    return sweep


def run_rounds(sweep, seconds):
    for _ in range(seconds):
        sweep.now[0] += 1
        sweep.run_round()


def test_kept_leases_are_reported_until_their_heartbeats_return(store, kept):
    status, reason = kept.health.status()
    assert (status, names(store)) == ("degraded", [])
    assert "4 of 4" in reason
    assert "svc services expire" in reason
    for n in range(4):
        renew_lease(store, f"s{n}", kept.now[0], None)
    run_rounds(kept, 1)
    assert kept.health.status() == ("healthy", "")


def test_an_operator_ends_kept_leases(store, kept):
    assert kept.end_kept_leases() == ["s0", "s1", "s2", "s3"]
    assert names(store) == ["s3", "s2", "s1", "s0"]
    assert (kept.health.status(), len(kept.ended)) == (("healthy", ""), 4)


def test_a_heartbeat_in_the_future_is_set_to_now(store):
    put(store, service("ahead", last_heartbeat=NOW + 3600))
    LeaseSweep(store, lambda: NOW).run_round()
    assert (store.get("ahead").last_heartbeat, store.snapshot()[0]) == (NOW, 1)


@pytest.mark.parametrize("jump", [3600, -3600])
def test_a_clock_jump_ends_no_lease_and_removes_no_service(store, jump):
    put(store, service("a", lease_seconds=30), service("gone", lease_seconds=30, expired=True))
    now = [NOW]
    sweep = LeaseSweep(store, lambda: now[0])
    sweep.now = now
    cleanup = ServiceCleanup(store, 300, lambda: now[0], sweep.listening_since, lambda: None)
    run_rounds(sweep, 10)
    now[0] += jump
    run_rounds(sweep, 1)
    cleanup.run_round()
    assert (sweep.health.status()[0], names(store)) == ("healthy", ["gone"])
    assert renew_lease(store, "a", now[0], None)
    assert store.get("a").last_heartbeat == now[0]
    run_rounds(sweep, 31)
    assert store.get("a").expired, "silent since"


def test_a_kept_service_is_not_removed(store, kept):
    cleanup = ServiceCleanup(store, 0, kept.clock, kept.listening_since, lambda: None)
    run_rounds(kept, 100)
    cleanup.run_round()
    assert len(store.snapshot()[1]) == 4


def test_leases_start_anew_after_a_failure_of_the_store(store, monkeypatch):
    put(store, service("a", lease_seconds=30))
    now = [NOW]
    sweep = LeaseSweep(store, lambda: now[0])
    sweep.now = now
    sweep.health.record_store_failure("the store is full")
    check = store.check

    def fails():
        raise Unavailable("the store is full")

    monkeypatch.setattr(store, "check", fails)
    run_rounds(sweep, 100)
    assert (sweep.health.status()[0], names(store)) == ("failing", [])
    monkeypatch.setattr(store, "check", check)
    run_rounds(sweep, 32)
    assert (sweep.health.status()[0], names(store)) == ("healthy", []), "it could not send heartbeats"
    run_rounds(sweep, 4)
    assert names(store)


def test_services_silent_for_long_are_removed(tmp_path):
    store, now, removals = SqliteStore(tmp_path / "registry.db"), [NOW], []
    for added in (service("silent", lease_seconds=30, expired=True), service("live", last_heartbeat=NOW + 300)):
        store.change(added.name, lambda old, new=added: new)
    cleanup = ServiceCleanup(store, 300, lambda: now[0], lambda: NOW, lambda: removals.append(1))
    now[0] = NOW + 329
    cleanup.run_round()
    assert not removals
    now[0] = NOW + 330
    cleanup.run_round()
    assert [s.name for s in store.snapshot()[1]] == ["live"]
    assert len(removals) == 1
    store.close()


class LateHeartbeatStore:
    """A store in which a heartbeat arrives between the snapshot and the removal."""

    def __init__(self, store):
        self.store = store

    def snapshot(self):
        before = self.store.snapshot()
        renew_lease(self.store, "late", NOW + 10_000, None)
        return before

    def remove(self, name, when, why):
        return self.store.remove(name, when, why)


def test_a_heartbeat_just_before_the_removal_prevents_it(tmp_path):
    store = SqliteStore(tmp_path / "registry.db")
    store.change("late", lambda old: service("late", expired=True))
    cleanup = ServiceCleanup(LateHeartbeatStore(store), 300, lambda: NOW + 10_000, lambda: NOW, lambda: None)
    cleanup.run_round()
    assert store.get("late")
    store.close()


class SharedStore:
    """A store in which another registry ends the lease just before the change."""

    def __init__(self, store):
        self.store = store
        self.check, self.degradation, self.past_incident = store.check, store.degradation, store.past_incident
        self.snapshot = store.snapshot

    def change(self, name, change):
        self.store.change(name, lambda old: replace(old, expired=True))
        return self.store.change(name, change)


def test_a_lease_that_another_registry_has_ended_is_not_counted_again(store):
    put(store, service("shared", lease_seconds=30))
    now, ended = [NOW], []
    sweep = LeaseSweep(SharedStore(store), lambda: now[0], lambda: ended.append(1))
    for second in range(1, 32):
        now[0] = NOW + second
        sweep.run_round()
    assert store.get("shared").expired
    assert not ended
