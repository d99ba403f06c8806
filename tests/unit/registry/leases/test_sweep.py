import pytest

from svc.base.errors import Unavailable
from svc.registry.leases.sweep import LeaseSweep, ServiceCleanup
from svc.registry.store.sqlite import SqliteStore
from tests.unit.registry.services import NOW, service


@pytest.fixture
def store(tmp_path):
    store = SqliteStore(tmp_path / "registry.db")
    yield store
    store.close()


def put(store, *services):
    for one in services:
        store.change(one.name, lambda old, new=one: new)


def test_the_silent_expire_and_the_revision_rises_once_for_each(store):
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
    """Four that fell silent at once, swept until their leases are over."""
    put(store, *(service(f"s{n}", lease_seconds=30) for n in range(4)))
    now, ended = [NOW], []
    sweep = LeaseSweep(store, lambda: now[0], lambda: ended.append(1))
    sweep.now, sweep.ended = now, ended
    turn(sweep, 40)
    return sweep


def turn(sweep, seconds):
    for _ in range(seconds):
        sweep.now[0] += 1
        sweep.run_round()


def test_the_many_are_kept_which_is_told_until_they_are_heard_of(store, kept):
    status, reason = kept.store_health.status()
    assert (status, names(store)) == ("degraded", [])
    assert "4 of 4" in reason
    assert "svc services expire" in reason
    for n in range(4):
        store.heartbeat(f"s{n}", kept.now[0], None)
    turn(kept, 1)
    assert kept.store_health.status() == ("healthy", "")


def test_an_operator_ends_them(store, kept):
    assert kept.release() == ["s0", "s1", "s2", "s3"]
    assert names(store) == ["s3", "s2", "s1", "s0"]
    assert (kept.store_health.status(), len(kept.ended)) == (("healthy", ""), 4)


def test_a_heartbeat_of_a_clock_that_was_ahead_is_brought_back(store):
    put(store, service("ahead", last_heartbeat=NOW + 3600))
    LeaseSweep(store, lambda: NOW).run_round()
    assert (store.get("ahead").last_heartbeat, store.snapshot()[0]) == (NOW, 1)


@pytest.mark.parametrize("jump", [3600, -3600])
def test_a_jump_of_the_clock_ends_no_lease_and_forgets_nobody(store, jump):
    put(store, service("a", lease_seconds=30), service("gone", lease_seconds=30, expired=True))
    now = [NOW]
    sweep = LeaseSweep(store, lambda: now[0])
    sweep.now = now
    cleanup = ServiceCleanup(store, 300, lambda: now[0], sweep.since, lambda: None)
    turn(sweep, 10)
    now[0] += jump
    turn(sweep, 1)
    cleanup.run_round()
    assert (sweep.store_health.status()[0], names(store)) == ("healthy", ["gone"])
    assert store.heartbeat("a", now[0], None)
    assert store.get("a").last_heartbeat == now[0]
    turn(sweep, 31)
    assert store.get("a").expired, "silent since"


def test_what_is_kept_is_not_forgotten(store, kept):
    cleanup = ServiceCleanup(store, 0, kept.clock, kept.since, lambda: None)
    turn(kept, 100)
    cleanup.run_round()
    assert len(store.snapshot()[1]) == 4


def test_while_the_store_fails_no_lease_ends_and_after_it_they_begin_anew(store, monkeypatch):
    put(store, service("a", lease_seconds=30))
    now = [NOW]
    sweep = LeaseSweep(store, lambda: now[0])
    sweep.now = now
    sweep.store_health.record_failure("the store is full")
    check = store.check

    def fails():
        raise Unavailable("the store is full")

    monkeypatch.setattr(store, "check", fails)
    turn(sweep, 100)
    assert (sweep.store_health.status()[0], names(store)) == ("failing", [])
    monkeypatch.setattr(store, "check", check)
    turn(sweep, 32)
    assert (sweep.store_health.status()[0], names(store)) == ("healthy", []), "it could not heartbeat"
    turn(sweep, 4)
    assert names(store)


def test_the_long_silent_go_and_the_rest_stays(tmp_path):
    store, now, gone = SqliteStore(tmp_path / "registry.db"), [NOW], []
    for one in (service("silent", lease_seconds=30, expired=True), service("live", last_heartbeat=NOW + 300)):
        store.change(one.name, lambda old, new=one: new)
    cleanup = ServiceCleanup(store, 300, lambda: now[0], lambda: NOW, lambda: gone.append(1))
    now[0] = NOW + 329
    cleanup.run_round()
    assert not gone
    now[0] = NOW + 330
    cleanup.run_round()
    assert [s.name for s in store.snapshot()[1]] == ["live"]
    assert len(gone) == 1
    store.close()


class HeardOf:
    """A store where every service is heard of between the looking and the removing."""

    def __init__(self, store):
        self.store = store

    def snapshot(self):
        before = self.store.snapshot()
        self.store.heartbeat("late", NOW + 10_000, None)
        return before

    def remove(self, name, when, why):
        return self.store.remove(name, when, why)


def test_what_is_heard_of_at_the_last_moment_stays(tmp_path):
    store = SqliteStore(tmp_path / "registry.db")
    store.change("late", lambda old: service("late", expired=True))
    cleanup = ServiceCleanup(HeardOf(store), 300, lambda: NOW + 10_000, lambda: NOW, lambda: None)
    cleanup.run_round()
    assert store.get("late")
    store.close()
