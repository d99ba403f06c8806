"""The SQLite store: its file, and its failures."""

import sqlite3
from pathlib import Path

import pytest

from svc.base.errors import ConfigError, Unavailable
from svc.registry.store.sqlite import SqliteStore
from svc.registry.store.store_file import MIGRATIONS
from tests.integration.registry.stores import put, revision
from tests.unit.registry.services import NOW, service


def test_a_file_of_the_first_version_is_migrated(tmp_path):
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


def write_newer_version(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")


def write_text_file(path: Path) -> None:
    path.write_text("name = 'qwen'")


@pytest.mark.parametrize("spoil", [lambda p: p.mkdir(), write_text_file, write_newer_version])
def test_an_unusable_file_is_reported_in_one_line(tmp_path, spoil):
    path = tmp_path / "qwen.toml"
    spoil(path)
    with pytest.raises(ConfigError) as failure:
        SqliteStore(path)
    assert str(path) in failure.value.message
    assert "\n" not in failure.value.message
    assert [p.name for p in tmp_path.iterdir()] == ["qwen.toml"], "nothing was renamed"


def test_a_failed_write_is_never_listed(tmp_path):
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


def test_a_full_store_is_unavailable_and_recovers(tmp_path):
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
