import pytest

from svc.base.errors import Unavailable
from svc.registry.leases.cleanup import Cleanup
from svc.registry.leases.sweep import Sweep
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
    sweep = Sweep(store, lambda: now[0])
    for moment in range(1, 51):
        now[0] = NOW + moment
        sweep.round()
        assert names(store) == ["silent"] * (moment >= 30) + ["live"] * (moment >= 50)
    assert store.snapshot()[0] == 4


def names(store):
    return sorted((s.name for s in store.snapshot()[1] if s.expired), reverse=True)


@pytest.fixture
def kept(store):
    """Four that fell silent at once, swept until their leases are over."""
    put(store, *(service(f"s{n}", lease_seconds=30) for n in range(4)))
    now, ended = [NOW], []
    sweep = Sweep(store, lambda: now[0], lambda: ended.append(1))
    sweep.now, sweep.ended = now, ended
    turn(sweep, 40)
    return sweep


def turn(sweep, seconds):
    for _ in range(seconds):
        sweep.now[0] += 1
        sweep.round()


def test_the_many_are_kept_which_is_told_until_they_are_heard_of(store, kept):
    status, reason = kept.condition.told()
    assert (status, names(store)) == ("degraded", [])
    assert "4 of 4" in reason
    assert "svc services expire" in reason
    for n in range(4):
        store.heartbeat(f"s{n}", kept.now[0], None)
    turn(kept, 1)
    assert kept.condition.told() == ("healthy", "")


def test_an_operator_ends_them(store, kept):
    assert kept.release() == ["s0", "s1", "s2", "s3"]
    assert names(store) == ["s3", "s2", "s1", "s0"]
    assert (kept.condition.told(), len(kept.ended)) == (("healthy", ""), 4)


def test_a_heartbeat_of_a_clock_that_was_ahead_is_brought_back(store):
    put(store, service("ahead", last_heartbeat=NOW + 3600))
    Sweep(store, lambda: NOW).round()
    assert (store.get("ahead").last_heartbeat, store.snapshot()[0]) == (NOW, 1)


@pytest.mark.parametrize("jump", [3600, -3600])
def test_a_jump_of_the_clock_ends_no_lease_and_forgets_nobody(store, jump):
    put(store, service("a", lease_seconds=30), service("gone", lease_seconds=30, expired=True))
    now = [NOW]
    sweep = Sweep(store, lambda: now[0])
    sweep.now = now
    cleanup = Cleanup(store, 300, lambda: now[0], sweep.since, lambda: None)
    turn(sweep, 10)
    now[0] += jump
    turn(sweep, 1)
    cleanup.round()
    assert (sweep.condition.told()[0], names(store)) == ("healthy", ["gone"])
    assert store.heartbeat("a", now[0], None)
    assert store.get("a").last_heartbeat == now[0]
    turn(sweep, 31)
    assert store.get("a").expired, "silent since"


def test_what_is_kept_is_not_forgotten(store, kept):
    cleanup = Cleanup(store, 0, kept.clock, kept.since, lambda: None)
    turn(kept, 100)
    cleanup.round()
    assert len(store.snapshot()[1]) == 4


def test_while_the_store_fails_no_lease_ends_and_after_it_they_begin_anew(store, monkeypatch):
    put(store, service("a", lease_seconds=30))
    now = [NOW]
    sweep = Sweep(store, lambda: now[0])
    sweep.now = now
    sweep.condition.failed("the store is full")
    check = store.check

    def fails():
        raise Unavailable("the store is full")

    monkeypatch.setattr(store, "check", fails)
    turn(sweep, 100)
    assert (sweep.condition.told()[0], names(store)) == ("failing", [])
    monkeypatch.setattr(store, "check", check)
    turn(sweep, 32)
    assert (sweep.condition.told()[0], names(store)) == ("healthy", []), "it could not heartbeat"
    turn(sweep, 4)
    assert names(store)
