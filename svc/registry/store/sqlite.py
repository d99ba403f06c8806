"""The store of one host: a SQLite file in WAL mode."""

import logging
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from msgspec.structs import replace

from svc.base.errors import ConfigError, Unavailable
from svc.protocol import event
from svc.protocol.event import Event
from svc.protocol.service import Service
from svc.registry.leases import lease
from svc.registry.leases.owner import OPERATOR, Caller
from svc.registry.store import sqlite_file
from svc.registry.store.base import Change, Test
from svc.registry.store.sqlite_cache import TOLD, WRITE, Memory, read_event, row

log = logging.getLogger(__name__)
BEAT = """
UPDATE services SET last_heartbeat = :now
WHERE name = :name AND NOT expired AND (:status IS NULL OR status = :status)
AND (:caller IS NULL OR owner IN ('', :caller))
"""  # owners are digests of long random words: how long comparing two takes tells nothing of the word
MARK, UNMARK = "INSERT INTO drained VALUES (?)", "DELETE FROM drained WHERE name = ?"


class SqliteStore:
    """One connection for the process; transactions are tiny, since they hold up the event loop. Reads are from memory.

    synchronous=NORMAL: a commit is in the kernel's hands when it returns, so a
    killed process loses nothing; the last ones before a power cut may be lost,
    the file stays whole.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._changed = threading.Event()  # of the revision that stands now; swapped at each raise
        self._told = threading.Event()  # the same of events
        self._memory = Memory()
        self.happened: Counter[str] = Counter()
        self._file = 0
        self._closed = False
        self._db: sqlite3.Connection | None = None
        try:
            self._opened()
        except (OSError, sqlite3.Error) as error:
            if not sqlite_file.disk_trouble(path, error):
                raise ConfigError(
                    sqlite_file.UNUSABLE.format(path, getattr(error, "strerror", None) or error)
                ) from None
            log.error("%s", sqlite_file.reason(path, error))

    def snapshot(self) -> tuple[int, list[Service]]:
        with self._transaction("BEGIN"):
            services = self._memory.services
            return self._memory.revision, [services[name] for name in sorted(services)]

    def get(self, name: str) -> Service | None:
        with self._transaction("BEGIN"):
            return self._memory.services.get(name)

    def change(self, name: str, change: Change) -> Service | None:
        with self._transaction() as db:
            old = self._memory.services.get(name)
            new = change(old)
            if new is None:
                return old
            new = replace(new, drained=old.drained if old else _marked(db, name))
            if new != old:
                db.execute(WRITE, row(new))
                self._memory.put(name, new)
                self._memory.tell(db, event.between(old, new, time.time()))
            if lease.notable(old, new):
                self._raise_revision(db)
            return new

    def remove(self, name: str, when: Test | None = None, why: str = "") -> bool:
        with self._transaction() as db:
            old = self._memory.services.get(name)
            if old is None or (when is not None and not when(old)):
                return False
            db.execute("DELETE FROM services WHERE name = ?", (name,))
            self._memory.put(name, None)
            self._memory.tell(db, event.between(old, None, time.time(), why))
            self._raise_revision(db)
            return True

    def heartbeat(self, name: str, now: float, status: str | None, caller: Caller = OPERATOR) -> bool:
        with self._transaction("") as db:  # one statement is its own transaction
            beat = db.execute(BEAT, {"name": name, "now": now, "status": status, "caller": caller})
            known = self._memory.services.get(name) if beat.rowcount else None
            if known:
                self._memory.put(name, replace(known, last_heartbeat=now))
        if beat.rowcount:
            return True
        return self.change(name, lambda s: s and lease.beaten(s, now, status, caller)) is not None

    def drain(self, name: str, drained: bool) -> Service | None:
        with self._transaction() as db:
            old = self._memory.services.get(name)
            if old is None and not drained:
                db.execute(UNMARK, (name,))  # of one that has left
            if old is None or old.drained == drained:
                return old
            db.execute(MARK if drained else UNMARK, (name,))
            new = replace(old, drained=drained)
            self._memory.put(name, new)
            self._memory.tell(db, event.between(old, new, time.time()))
            self._raise_revision(db)
            return new

    def wait(self, index: int, timeout: float) -> int:
        changed = self._changed  # before the look: what comes after it is not missed
        revision = self._revision()
        if revision == index and changed.wait(timeout):
            return self._revision()
        return revision

    def tell(self, events: Sequence[Event]) -> list[Event]:
        with self._transaction() as db:
            return self._memory.tell(db, events)

    def events(self, after: int, wait: float = 0) -> tuple[list[Event], int]:
        told = self._told  # before the look: what comes after it is not missed
        found = self._events(after)
        if not found[0] and told.wait(wait):
            return self._events(after)
        return found

    def check(self) -> None:
        with self._transaction() as db:
            db.execute("UPDATE revision SET value = value")

    def notice(self) -> str:
        return ""

    def history(self) -> str:
        return sqlite_file.set_aside_before(self.path)

    def now(self) -> float:
        return time.time()

    def wake(self) -> None:
        changed, self._changed = self._changed, threading.Event()
        changed.set()
        self._wake_listeners()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._drop()

    def _revision(self) -> int:
        with self._transaction("BEGIN"):
            return self._memory.revision

    def _events(self, after: int) -> tuple[list[Event], int]:
        with self._transaction("BEGIN") as db:
            last = self._memory.last
            if after == last:
                return [], last
            rows = db.execute(TOLD, (after if after < last else 0,)).fetchall()
            return [read_event(columns) for columns in rows], last

    def _wake_listeners(self) -> None:
        told, self._told = self._told, threading.Event()
        told.set()

    def _raise_revision(self, db: sqlite3.Connection) -> None:
        db.execute("UPDATE revision SET value = value + 1")
        self._memory.raised = True

    @contextmanager
    def _transaction(self, begin: str = "BEGIN IMMEDIATE") -> Iterator[sqlite3.Connection]:
        """With `begin`, the memory is what the file holds."""
        with self._lock:
            try:
                db = self._opened()
                if begin:
                    db.execute(begin)
                    self._memory.read(db)
                yield db
                if begin:
                    db.execute("COMMIT")
                raised = self._memory.raised
                told = self._memory.commit()
                if raised:
                    self.wake()
                elif told:
                    self._wake_listeners()
                self.happened.update(event.kind for event in told)
            except (OSError, sqlite3.Error) as error:
                if sqlite_file.must_reopen(error):
                    self._drop()
                    self.wake()  # they find out in their turn
                raise Unavailable(sqlite_file.reason(self.path, error)) from error
            except ConfigError as error:
                raise Unavailable(error.message) from error
            finally:
                self._roll_back()

    def _roll_back(self) -> None:
        """Ends a transaction that a failure left open; after a COMMIT there is none."""
        self._memory.forget_pending()
        with suppress(sqlite3.Error):
            if self._db is not None and self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def _opened(self) -> sqlite3.Connection:
        """Opens it where that is still to do: a disk that is full at the start is no reason not to start."""
        if self._closed:
            raise sqlite3.ProgrammingError("it is closed")
        if self._db is not None and sqlite_file.identity(self.path) != self._file:
            self._drop()  # the file was taken away or replaced: what is written would be lost with it
        if self._db is None:
            db = sqlite_file.open_database(self.path)
            try:
                self._memory.restore(db)
            except BaseException:
                db.close()  # to be tried again
                raise
            self._db, self._file = db, sqlite_file.identity(self.path)
        return self._db

    def _drop(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None


def _marked(db: sqlite3.Connection, name: str) -> bool:
    return db.execute("SELECT 1 FROM drained WHERE name = ?", (name,)).fetchone() is not None
