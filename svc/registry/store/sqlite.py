"""The store for one host: a SQLite file in WAL mode."""

import logging
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from msgspec.structs import replace

from svc.base import sqlite_file
from svc.base.errors import ConfigError, Unavailable
from svc.protocol import event
from svc.protocol.event import Actor, Event
from svc.protocol.gpu_report import MAX_HOSTS, GpuReport, ListedHost
from svc.protocol.instance_load import InstanceLoad, ListedLoad
from svc.protocol.service import Service
from svc.registry.leases import lease
from svc.registry.leases.lease import LeaseRenewal
from svc.registry.leases.owner import Caller
from svc.registry.store import store_file
from svc.registry.store.contract import Change, Condition, LoadReport
from svc.registry.store.report_table import ReportTable, current_hosts, current_loads
from svc.registry.store.sqlite_cache import (
    SELECT_AUDIT_AFTER,
    SELECT_EVENTS_AFTER,
    WRITE_SERVICE,
    SqliteCache,
    read_event,
    to_row,
)

log = logging.getLogger(__name__)
RENEW = "UPDATE services SET last_heartbeat = ? WHERE name = ?"
MARK_DRAINED = "INSERT OR REPLACE INTO drained (name, handover) VALUES (?, ?)"
UNMARK_DRAINED = "DELETE FROM drained WHERE name = ?"


class SqliteStore:
    """A store in a SQLite file, with one connection per process.

    Transactions are short because they block the event loop, and reads are answered from memory. With
    synchronous=NORMAL the kernel has the data when a commit returns, so a killed process loses nothing. A power cut may
    lose the last commits, but does not corrupt the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._revision_changed = threading.Event()  # set when the revision rises, then replaced
        self._events_added = threading.Event()  # set when an event is added, then replaced
        self._cache = SqliteCache()
        self.event_counts: Counter[str] = Counter()
        self._loads: ReportTable[InstanceLoad] = ReportTable()
        self._gpus: ReportTable[GpuReport] = ReportTable(MAX_HOSTS)
        self._file_id = 0
        self._closed = False
        self._db: sqlite3.Connection | None = None
        try:
            self._connection()
        except (OSError, sqlite3.Error) as error:
            if not sqlite_file.disk_trouble(path, error):
                raise ConfigError(store_file.UNUSABLE.format(path, getattr(error, "strerror", None) or error)) from None
            log.error("%s", store_file.reason(path, error))

    def snapshot(self) -> tuple[int, list[Service]]:
        with self._transaction("BEGIN"):
            services = self._cache.services
            return self._cache.revision, [services[name] for name in sorted(services)]

    def get(self, name: str) -> Service | None:
        with self._transaction("BEGIN"):
            return self._cache.services.get(name)

    def change(self, name: str, change: Change, actor: Actor | None = None) -> Service | None:
        with self._transaction() as db:
            old = self._cache.services.get(name)
            new = change(old)
            if new is None:
                return old
            drained, handover = (old.drained, old.handover) if old else _drain_mark(db, name)
            new = replace(new, drained=drained, handover=handover)
            if new != old:
                db.execute(WRITE_SERVICE, to_row(new))
                self._cache.put(name, new)
                self._cache.add_events(db, event.events_between(old, new, time.time(), actor=actor))
            if lease.is_visible_change(old, new):
                self._raise_revision(db)
            if old is None or new.expired or old.owner != new.owner:
                self._forget_reports(name)
            return new

    def remove(self, name: str, when: Condition | None = None, why: str = "", actor: Actor | None = None) -> bool:
        with self._transaction() as db:
            old = self._cache.services.get(name)
            if old is None or (when is not None and not when(old)):
                return False
            db.execute("DELETE FROM services WHERE name = ?", (name,))
            self._cache.put(name, None)
            self._forget_reports(name)
            self._cache.add_events(db, event.events_between(old, None, time.time(), why, actor))
            self._raise_revision(db)
            return True

    def renew_leases(self, renewals: Sequence[LeaseRenewal], now: float) -> list[bool]:
        with self._transaction() as db:
            services = [self._cache.services.get(renewal.name) for renewal in renewals]
            renewed = [
                service if service and lease.only_renews(service, renewal) else None
                for service, renewal in zip(services, renewals, strict=True)
            ]
            for service in filter(None, renewed):
                db.execute(RENEW, (now, service.name))
                self._cache.put(service.name, replace(service, last_heartbeat=now))
            return [service is not None for service in renewed]

    def put_loads(self, reports: Sequence[LoadReport], now: float) -> list[bool]:
        with self._transaction("BEGIN"):
            services = [self._cache.services.get(report.name) for report in reports]
        return [
            self._loads.put(report.name, report.load, service, report.caller, now)
            for report, service in zip(reports, services, strict=True)
        ]

    def loads(self, now: float) -> list[ListedLoad]:
        return current_loads(self._loads.current(now), now)

    def put_gpus(self, name: str, report: GpuReport, caller: Caller, now: float) -> bool:
        return self._gpus.put(name, report, self.get(name), caller, now)

    def gpus(self, now: float) -> list[ListedHost]:
        return current_hosts(self._gpus.current(now), now)

    def drain(self, name: str, drained: bool, actor: Actor | None = None, handover: bool = False) -> Service | None:
        with self._transaction() as db:
            old = self._cache.services.get(name)
            if old is None and not drained:
                db.execute(UNMARK_DRAINED, (name,))  # a service that is not registered may still be marked
            new = old and replace(old, drained=drained, handover=drained and handover)
            if old is None or new is None or new == old:
                return old
            if drained:
                db.execute(MARK_DRAINED, (name, new.handover))
            else:
                db.execute(UNMARK_DRAINED, (name,))
            self._cache.put(name, new)
            self._cache.add_events(db, event.events_between(old, new, time.time(), actor=actor))
            self._raise_revision(db)
            return new

    def wait(self, known_revision: int, timeout: float) -> int:
        changed = self._revision_changed  # read before the revision, so that no change is missed
        revision = self._revision()
        if revision == known_revision and changed.wait(timeout):
            return self._revision()
        return revision

    def add_events(self, events: Sequence[Event]) -> list[Event]:
        with self._transaction() as db:
            return self._cache.add_events(db, events)

    def events(self, after: int, wait: float = 0, audit: bool = False) -> tuple[list[Event], int]:
        added = self._events_added  # read before the events, so that none is missed
        events, last = self._events(after, audit)
        if not events and added.wait(wait):
            return self._events(after, audit)
        return events, last

    def share_reached(self, names: Collection[str], seconds: float) -> None:
        """Do nothing, because no other registry has this store."""

    def reached_by_others(self) -> frozenset[str]:
        return frozenset()

    def check(self) -> None:
        with self._transaction() as db:
            db.execute("UPDATE revision SET value = value")

    def degradation(self) -> str:
        return ""

    def past_incident(self) -> str:
        return store_file.past_corruption(self.path)

    def now(self) -> float:
        return time.time()

    def wake(self) -> None:
        changed, self._revision_changed = self._revision_changed, threading.Event()
        changed.set()
        self._wake_event_waiters()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._disconnect()

    def _revision(self) -> int:
        with self._transaction("BEGIN"):
            return self._cache.revision

    def _events(self, after: int, audit: bool) -> tuple[list[Event], int]:
        with self._transaction("BEGIN") as db:
            last = self._cache.last_event_id
            if after == last:
                return [], last
            select = SELECT_AUDIT_AFTER if audit else SELECT_EVENTS_AFTER
            rows = db.execute(select, (after if after < last else 0,)).fetchall()
            return [read_event(row) for row in rows], last

    def _wake_event_waiters(self) -> None:
        added, self._events_added = self._events_added, threading.Event()
        added.set()

    def _raise_revision(self, db: sqlite3.Connection) -> None:
        db.execute("UPDATE revision SET value = value + 1")
        self._cache.raises_revision = True

    def _forget_reports(self, name: str) -> None:
        self._loads.forget(name)
        self._gpus.forget(name)

    @contextmanager
    def _transaction(self, begin: str = "BEGIN IMMEDIATE") -> Iterator[sqlite3.Connection]:
        """Run the block as a transaction on an up-to-date cache."""
        with self._lock:
            try:
                db = self._connection()
                db.execute(begin)
                self._cache.read(db)
                yield db
                db.execute("COMMIT")
                is_new_revision = self._cache.raises_revision
                added = self._cache.commit()
                if is_new_revision:
                    self.wake()
                elif added:
                    self._wake_event_waiters()
                self.event_counts.update(event.kind for event in added)
            except (OSError, sqlite3.Error) as error:
                if sqlite_file.must_reopen(error):
                    self._disconnect()
                    self.wake()  # each waiting caller then tries the store itself
                raise Unavailable(store_file.reason(self.path, error)) from error
            except ConfigError as error:
                raise Unavailable(error.message) from error
            finally:
                self._roll_back()

    def _roll_back(self) -> None:
        """Roll back the transaction that a failure left open, if any."""
        self._cache.discard_pending()
        with suppress(sqlite3.Error):
            if self._db is not None and self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def _connection(self) -> sqlite3.Connection:
        """Return the connection; open the file if it is not open, for example because the disk was full so far."""
        if self._closed:
            raise sqlite3.ProgrammingError("it is closed")
        if self._db is not None and sqlite_file.identity(self.path) != self._file_id:
            self._disconnect()  # the file was removed or replaced: writes to the old one would be lost
        if self._db is None:
            db = store_file.open_database(self.path)
            try:
                self._cache.restore(db)
            except BaseException:
                db.close()  # the next transaction reopens the file
                raise
            self._db, self._file_id = db, sqlite_file.identity(self.path)
        return self._db

    def _disconnect(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None


def _drain_mark(db: sqlite3.Connection, name: str) -> tuple[bool, bool]:
    """Return whether an operator has drained the name, and whether with a handover."""
    row = db.execute("SELECT handover FROM drained WHERE name = ?", (name,)).fetchone()
    return row is not None, row is not None and bool(row[0])
