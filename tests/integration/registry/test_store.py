"""What every store owes the registry; one that joins is added to STORES."""

import sqlite3
import threading
from pathlib import Path

import pytest
from msgspec.structs import replace

from svc.base.errors import ConfigError, Forbidden, NotFound, Unavailable
from svc.registry.leases import lease, owner
from svc.registry.store import redis_address
from svc.registry.store.redis import RedisStore
from svc.registry.store.sqlite import SqliteStore
from svc.registry.store.sqlite_file import MIGRATIONS
from tests.unit.registry.services import NOW, service
from tests.waiting import wait_until

STORES = {
    "sqlite": lambda request, place: SqliteStore(place / "var" / "registry.db"),
    "redis": lambda request, place: RedisStore(
        redis_address.parse(f"{request.getfixturevalue('shared_redis').url}?prefix={place.name}")
    ),
}


@pytest.fixture(params=STORES)
def reopen(request, tmp_path):
    """Opens the same store once more; all are closed in the end."""
    opened = []

    def again():
        opened.append(STORES[request.param](request, tmp_path))
        return opened[-1]

    yield again
    for store in opened:
        store.close()


@pytest.fixture
def store(reopen):
    return reopen()


def put(store, new):
    return store.change(new.name, lambda old: new)


def revision(store):
    return store.snapshot()[0]


def test_what_is_put_comes_back_whole_and_by_name(store):
    rich = service("b", lease_seconds=12.5, weight=3, metadata={"models": ["m", "ü"], "n": 2**70, "deep": {"x": [1.5]}})
    put(store, rich)
    put(store, service("a"))
    assert store.get("b") == rich
    assert store.snapshot() == (2, [service("a"), rich])
    assert store.get("c") is None


def test_change_sees_what_is_there_and_none_leaves_it(store):
    assert store.change("qwen", lambda old: old) is None
    put(store, service())
    assert store.change("qwen", lambda old: replace(old, weight=old.weight + 1)).weight == 2
    assert store.change("qwen", lambda old: None).weight == 2
    assert store.get("qwen").weight == 2


def test_a_change_that_raises_leaves_everything_as_it_was(store):
    put(store, service())
    with pytest.raises(ZeroDivisionError):
        store.change("qwen", lambda old: 1 / 0)
    assert store.snapshot() == (1, [service()])
    assert store.heartbeat("qwen", NOW + 1, None)


def test_waiting_ends_with_the_next_change_and_not_with_a_heartbeat(store):
    put(store, service())
    assert store.wait(0, 60) == 1, "it has changed already"
    assert store.wait(7, 60) == 1, "the client is ahead"
    assert store.wait(1, 0.01) == 1
    told = []
    watchers = [threading.Thread(target=lambda: told.append(store.wait(1, 60))) for _ in range(3)]
    for watcher in watchers:
        watcher.start()
    store.heartbeat("qwen", NOW + 1, "running")
    assert not told
    store.drain("qwen", True)
    for watcher in watchers:
        watcher.join(10)
    assert told == [2, 2, 2]


def test_waking_lets_go_of_who_waits(store):
    told = []
    watcher = threading.Thread(target=lambda: told.append(store.wait(0, 60)))
    watcher.start()
    wait_until(lambda: store.wake() or told, interval=0.01)
    watcher.join(10)
    assert told == [0]


def test_the_expired_stay_marked_until_they_are_heard_of(store, reopen):
    put(store, service(owner="hash"))
    store.change("qwen", lambda s: lease.expire_if_lapsed(s, NOW + 90, 0))
    assert (revision(store), store.get("qwen")) == (2, service(owner="hash", expired=True))
    store.close()
    again = reopen()
    assert again.get("qwen").expired
    assert again.heartbeat("qwen", NOW + 91, None)
    assert (revision(again), again.get("qwen").expired) == (3, False)


def test_heartbeats_renew_and_raise_the_revision_only_when_they_change_something(store):
    put(store, service(lease_seconds=30))
    assert store.heartbeat("qwen", NOW + 10, None)
    assert store.heartbeat("qwen", NOW + 20, "running")
    assert (revision(store), store.get("qwen").last_heartbeat) == (1, NOW + 20)
    assert store.heartbeat("qwen", NOW + 30, "draining")
    assert (revision(store), store.get("qwen").status) == (2, "draining")
    assert not store.heartbeat("other", NOW, "running")
    assert revision(store) == 2


def test_a_heartbeat_is_its_owners_the_operators_or_for_what_is_nobodys(store):
    mine, others = owner.digest("mine" * 8), owner.digest("others" * 8)
    put(store, service("mine", owner=mine))
    put(store, service("free"))
    for caller in (mine, owner.OPERATOR):
        assert store.heartbeat("mine", NOW + 1, "running", caller)
    for caller in (mine, owner.ANONYMOUS, owner.OPERATOR):
        assert store.heartbeat("free", NOW + 1, "running", caller)
    for caller in (others, owner.ANONYMOUS):
        for status in ("running", "draining", None):
            with pytest.raises(Forbidden):
                store.heartbeat("mine", NOW + 9, status, caller)
    assert (store.get("mine").last_heartbeat, store.get("mine").status, revision(store)) == (NOW + 1, "running", 2)
    store.change("mine", lambda old: replace(old, expired=True))
    with pytest.raises(NotFound):
        store.heartbeat("mine", NOW + 9, "running", others)
    assert store.heartbeat("mine", NOW + 9, "running", mine)


def test_a_new_owner_alone_is_kept_and_wakes_nobody(store):
    put(store, service(owner="a"))
    put(store, service(owner="b"))
    assert (store.get("qwen").owner, revision(store)) == ("b", 1)
    assert store.heartbeat("qwen", NOW + 1, "running", "b")


def test_what_a_test_raises_leaves_it_there(store):
    put(store, service())
    with pytest.raises(ZeroDivisionError):
        store.remove("qwen", lambda old: 1 / 0)
    assert store.snapshot() == (1, [service()])


def test_a_list_is_fresh_although_the_revision_stands(store, reopen):
    other = reopen()
    for name in ("a", "b", "c"):
        put(store, service(name))
    before = store.snapshot(), other.snapshot()
    store.heartbeat("b", NOW + 20, None)
    put(store, service("c", timestamp="2030-01-01T00:00:00Z"))
    for mine, (index, listed) in zip((store, other), before, strict=True):
        now, found = mine.snapshot()
        assert now == index
        assert [s.last_heartbeat for s in found] == [NOW, NOW + 20, NOW]
        assert found[2].timestamp == "2030-01-01T00:00:00Z"
        assert listed[1].last_heartbeat == NOW, "what was listed before stays as it was"


def test_remove_tells_whether_it_did(store):
    put(store, service())
    assert not store.remove("qwen", when=lambda s: s.weight == 7)
    assert store.remove("qwen", when=lambda s: s.weight == 1)
    assert not store.remove("qwen")
    assert store.snapshot() == (2, [])


def test_the_drain_mark_outlives_heartbeats_changes_and_registrations(store):
    assert store.drain("qwen", True) is None
    put(store, service())
    assert store.drain("qwen", True).drained
    assert revision(store) == 2
    assert store.drain("qwen", True).drained
    assert revision(store) == 2, "it was already"
    store.heartbeat("qwen", NOW + 1, "starting")
    store.change("qwen", lambda old: replace(old, drained=False))
    assert put(store, service()).drained
    store.remove("qwen")
    assert put(store, service()).drained
    assert not store.drain("qwen", False).drained
    assert not store.get("qwen").drained


def test_everything_is_still_there_when_it_is_opened_again(store, reopen):
    put(store, service())
    store.drain("qwen", True)
    store.heartbeat("qwen", NOW + 5, None)
    before = store.snapshot()
    store.close()
    assert reopen().snapshot() == before


def test_two_at_once_see_each_others_work_and_lose_none(store, reopen):
    put(store, service(weight=0))
    both = [store, reopen()]

    def count(mine):
        for _ in range(50):
            mine.change("qwen", lambda old: replace(old, weight=old.weight + 1))

    threads = [threading.Thread(target=count, args=(mine,)) for mine in both * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [mine.get("qwen").weight for mine in both] == [200, 200]
    assert revision(store) == 201


def test_a_closed_store_is_unavailable(store):
    store.close()
    with pytest.raises(Unavailable):
        store.snapshot()
    with pytest.raises(Unavailable):
        store.heartbeat("qwen", NOW, None)


def test_a_file_of_the_first_version_is_brought_up_to_date(tmp_path):
    path = tmp_path / "registry.db"
    with sqlite3.connect(path) as db:
        for statement in MIGRATIONS[0]:
            db.execute(statement)
        row = ("qwen", "10.0.0.7", 8100, "gpu7", "http://10.0.0.7:8100", "running", service().timestamp, NOW, 90.0)
        db.execute(f"INSERT INTO services VALUES ({','.join('?' * 12)})", (*row, "unknown", 1, b"{}"))
        db.execute("UPDATE revision SET value = 41")
        db.execute("PRAGMA user_version = 1")
    store = SqliteStore(path)
    assert store.snapshot() == (41, [service()])
    put(store, service("new", owner="hash"))
    store.close()
    store = SqliteStore(path)
    assert (revision(store), store.get("new").owner) == (42, "hash")
    store.close()


def newer(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")


def taken(path: Path) -> None:
    path.write_text("name = 'qwen'")


@pytest.mark.parametrize("spoil", [lambda p: p.mkdir(), taken, newer])
def test_sqlite_says_in_one_line_what_is_wrong_with_its_file(tmp_path, spoil):
    path = tmp_path / "qwen.toml"
    spoil(path)
    with pytest.raises(ConfigError) as failure:
        SqliteStore(path)
    assert str(path) in failure.value.message
    assert "\n" not in failure.value.message
    assert [p.name for p in tmp_path.iterdir()] == ["qwen.toml"], "nothing was moved"


def test_what_sqlite_did_not_take_is_not_told_either_not_even_later(tmp_path):
    store = SqliteStore(tmp_path / "registry.db")
    refuse = "CREATE TEMP TRIGGER refuse BEFORE UPDATE ON revision BEGIN SELECT RAISE(ABORT, 'refused'); END"
    store._db.execute(refuse)
    with pytest.raises(Unavailable, match="refused"):
        put(store, service("refused"))
    store._db.execute("DROP TRIGGER refuse")
    put(store, service("taken"))
    assert store.snapshot() == (1, [service("taken")])
    store.close()


def fill(store):
    for n in range(100):
        put(store, service(f"more{n}", metadata={"fill": "x" * 8000}))


def test_a_full_or_broken_sqlite_is_unavailable_and_recovers(tmp_path):
    store = SqliteStore(tmp_path / "registry.db")
    put(store, service())
    (pages,) = store._db.execute("PRAGMA page_count").fetchone()
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(Unavailable, match="full"):
        fill(store)
    kept = store.snapshot()
    store._db.execute("PRAGMA max_page_count = 100000")
    put(store, service("after"))
    assert (revision(store), len(store.snapshot()[1])) == (kept[0] + 1, len(kept[1]) + 1)
    store.close()


def test_a_mark_is_taken_from_who_has_left_and_given_to_nobody_who_is_not_there(store, reopen):
    put(store, service("gone"))
    store.drain("gone", True)
    store.remove("gone")
    assert store.drain("gone", False) is None
    assert store.drain("never", True) is None
    store.close()
    again = reopen()
    for name in ("gone", "never"):
        assert not put(again, service(name)).drained
