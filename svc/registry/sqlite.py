"""The store of one host: a SQLite file in WAL mode."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
from msgspec.structs import replace

from svc.errors import ConfigError, Unavailable
from svc.instance import Service
from svc.registry import lease
from svc.registry.store import Change, Test

STEPS = (
    (
        """CREATE TABLE services (
            name TEXT PRIMARY KEY, host TEXT NOT NULL, port INTEGER NOT NULL, hostname TEXT NOT NULL, url TEXT NOT NULL,
            status TEXT NOT NULL, timestamp TEXT NOT NULL, last_heartbeat REAL NOT NULL, lease_seconds REAL NOT NULL,
            health_status TEXT NOT NULL, weight INTEGER NOT NULL, metadata BLOB NOT NULL
        )""",
        "CREATE TABLE drained (name TEXT PRIMARY KEY)",
        "CREATE TABLE revision (one INTEGER PRIMARY KEY CHECK (one = 1), value INTEGER NOT NULL)",
        "INSERT INTO revision VALUES (1, 0)",
    ),
    (
        "ALTER TABLE services ADD COLUMN expired INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE services ADD COLUMN owner TEXT NOT NULL DEFAULT ''",
    ),
)  # each takes a file from one version to the next; an empty file is of version 0
VERSION = len(STEPS)
FIELDS = tuple(f for f in Service.__struct_fields__ if f != "drained")
SELECT = f"SELECT {', '.join(FIELDS)}, EXISTS (SELECT 1 FROM drained d WHERE d.name = s.name) FROM services s"
WRITE = f"INSERT OR REPLACE INTO services ({', '.join(FIELDS)}) VALUES ({', '.join(':' + f for f in FIELDS)})"
BEAT = """
UPDATE services SET last_heartbeat = :now
WHERE name = :name AND NOT expired AND (:status IS NULL OR status = :status)
"""
MARK, UNMARK = "INSERT INTO drained VALUES (?)", "DELETE FROM drained WHERE name = ?"
UNUSABLE = "{}: cannot keep registrations here: {}; make it writable, move it away or name another with --store"


class SqliteStore:
    """One connection for the process; transactions are tiny, since they hold up the event loop.

    synchronous=NORMAL: a commit is in the kernel's hands when it returns, so a
    killed process loses nothing; the last ones before a power cut may be lost,
    the file stays whole.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._changed = threading.Event()  # of the revision that stands now; swapped at each raise
        self._raised = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
            self._prepare()
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(UNUSABLE.format(path, getattr(error, "strerror", None) or error)) from None

    def snapshot(self) -> tuple[int, list[Service]]:
        with self._transaction("BEGIN") as db:
            (revision,) = db.execute("SELECT value FROM revision").fetchone()
            return revision, [_service(row) for row in db.execute(f"{SELECT} ORDER BY name")]

    def get(self, name: str) -> Service | None:
        with self._transaction("") as db:  # one statement is its own transaction
            return _find(db, name)

    def change(self, name: str, change: Change) -> Service | None:
        with self._transaction() as db:
            old = _find(db, name)
            new = change(old)
            if new is None:
                return old
            new = replace(new, drained=_marked(db, name))
            if new != old:
                db.execute(WRITE, _row(new))
            if lease.notable(old, new):
                self._raise_revision()
            return new

    def remove(self, name: str, when: Test | None = None) -> bool:
        with self._transaction() as db:
            old = _find(db, name)
            if old is None or (when is not None and not when(old)):
                return False
            db.execute("DELETE FROM services WHERE name = ?", (name,))
            self._raise_revision()
            return True

    def heartbeat(self, name: str, now: float, status: str | None) -> bool:
        with self._transaction("") as db:
            beat = db.execute(BEAT, {"name": name, "now": now, "status": status})
        if beat.rowcount:
            return True
        return self.change(name, lambda s: s and lease.beaten(s, now, status)) is not None

    def drain(self, name: str, drained: bool) -> Service | None:
        with self._transaction() as db:
            old = _find(db, name)
            if old is not None and old.drained != drained:
                db.execute(MARK if drained else UNMARK, (name,))
                self._raise_revision()
            return old and replace(old, drained=drained)

    def wait(self, index: int, timeout: float) -> int:
        changed = self._changed  # before the look: what comes after it is not missed
        revision = self._revision()
        if revision == index and changed.wait(timeout):
            return self._revision()
        return revision

    def check(self) -> None:
        with self._transaction() as db:
            db.execute("UPDATE revision SET value = value")

    def notice(self) -> str:
        return ""

    def now(self) -> float:
        return time.time()

    def wake(self) -> None:
        changed, self._changed = self._changed, threading.Event()
        changed.set()

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _prepare(self) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise sqlite3.DatabaseError(f"it is of version {version}, this program knows {VERSION}")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._migrate()

    def _migrate(self) -> None:
        """In one transaction, which another process that opens the file waits for."""
        self._db.execute("BEGIN IMMEDIATE")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        for step in STEPS[version:]:
            for statement in step:
                self._db.execute(statement)
        self._db.execute(f"PRAGMA user_version = {VERSION}")
        self._db.execute("COMMIT")

    def _revision(self) -> int:
        with self._transaction("") as db:
            (revision,) = db.execute("SELECT value FROM revision").fetchone()
            return revision

    def _raise_revision(self) -> None:
        self._db.execute("UPDATE revision SET value = value + 1")
        self._raised = True

    @contextmanager
    def _transaction(self, begin: str = "BEGIN IMMEDIATE") -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._raised = False
            try:
                if begin:
                    self._db.execute(begin)
                yield self._db
                if begin:
                    self._db.execute("COMMIT")
                if self._raised:
                    self.wake()
            except sqlite3.Error as error:
                raise Unavailable(f"{self.path}: the registry cannot use its store: {error}") from error
            finally:
                self._roll_back()

    def _roll_back(self) -> None:
        """Ends a transaction that a failure left open; after a COMMIT there is none."""
        with suppress(sqlite3.Error):
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")


def _find(db: sqlite3.Connection, name: str) -> Service | None:
    row = db.execute(f"{SELECT} WHERE name = ?", (name,)).fetchone()
    return row and _service(row)


def _marked(db: sqlite3.Connection, name: str) -> bool:
    return db.execute("SELECT 1 FROM drained WHERE name = ?", (name,)).fetchone() is not None


def _service(row: tuple) -> Service:
    told = dict(zip(FIELDS, row, strict=False))
    told["metadata"] = msgspec.json.decode(told["metadata"])
    told["expired"] = bool(told["expired"])
    return Service(**told, drained=bool(row[-1]))


def _row(service: Service) -> dict[str, object]:
    return {**{f: getattr(service, f) for f in FIELDS}, "metadata": msgspec.json.encode(service.metadata)}
