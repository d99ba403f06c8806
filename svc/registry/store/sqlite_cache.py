"""What a SQLite file holds, kept in memory beside it: thousands of rows are not decoded for each reader."""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import msgspec
from msgspec.structs import replace

from svc.protocol.event import OWN_SOURCE, Event, reporter_of
from svc.protocol.service import Service
from svc.registry.store.base import MAX_EVENTS_PER_REPORTER, MAX_OWN_EVENTS, MAX_REPORTED_EVENTS

FIELDS = tuple(f for f in Service.__struct_fields__ if f != "drained")
SELECT = f"SELECT {', '.join(FIELDS)}, EXISTS (SELECT 1 FROM drained d WHERE d.name = s.name) FROM services s"
WRITE = f"INSERT OR REPLACE INTO services ({', '.join(FIELDS)}) VALUES ({', '.join(':' + f for f in FIELDS)})"

EVENT = ", ".join(Event.__struct_fields__)
TELL = f"INSERT INTO events ({EVENT}) VALUES ({', '.join(':' + f for f in Event.__struct_fields__)})"
TOLD = f"SELECT {EVENT} FROM events WHERE id > ? ORDER BY id"
REPORTED = f"SELECT {EVENT} FROM events WHERE source <> '{OWN_SOURCE}' ORDER BY id DESC"
TRIM_OWN = f"""
DELETE FROM events WHERE source = '{OWN_SOURCE}' AND id <= (
    SELECT id FROM events WHERE source = '{OWN_SOURCE}' ORDER BY id DESC LIMIT 1 OFFSET {MAX_OWN_EVENTS})
"""


class Memory:
    """Read anew only when another process has written to the file. What is put waits for the transaction's end."""

    def __init__(self) -> None:
        self.services: dict[str, Service] = {}
        self.revision = 0
        self.raised = False  # whether this transaction raises the revision
        self.last = 0  # the id of the last event
        self._told: list[Event] = []  # by this transaction
        self._pending: dict[str, Service | None] = {}
        self._version: int | None = None  # SQLite's number for what others have written

    def read(self, db: sqlite3.Connection) -> None:
        """Within a transaction."""
        (version,) = db.execute("PRAGMA data_version").fetchone()
        if version != self._version:
            self.revision, self.last = db.execute("SELECT value, events FROM revision").fetchone()
            self.services = {found[0]: _service(found) for found in db.execute(SELECT)}
            self._version = version

    def put(self, name: str, service: Service | None) -> None:
        self._pending[name] = service

    def tell(self, db: sqlite3.Connection, events: Iterable[Event]) -> list[Event]:
        """Within a transaction; returns them with their ids."""
        first = self.last + len(self._told) + 1
        told = [replace(event, id=at) for at, event in enumerate(events, first)]
        if told:
            self._told += told
            db.executemany(TELL, [msgspec.to_builtins(event) for event in told])
            db.execute(TRIM_OWN)
            if any(event.source != OWN_SOURCE for event in told):
                reported = [read_event(columns) for columns in db.execute(REPORTED)]
                db.executemany("DELETE FROM events WHERE id = ?", [(one,) for one in surplus(reported)])
            db.execute("UPDATE revision SET events = ?", (told[-1].id,))
        return told

    def commit(self) -> list[Event]:
        """Takes over what was put; the events that were told."""
        for name, service in self._pending.items():
            if service is None:
                self.services.pop(name, None)
            else:
                self.services[name] = service
        self.revision += self.raised
        self.last += len(self._told)
        return self._told

    def forget_pending(self) -> None:
        self._pending = {}
        self._told = []
        self.raised = False

    def restore(self, db: sqlite3.Connection) -> None:
        """After a file was opened: what is known goes into one that had to be begun anew."""
        self._version = None
        (revision,) = db.execute("SELECT value FROM revision").fetchone()
        if revision or not self.revision:
            return
        db.execute("BEGIN IMMEDIATE")
        db.executemany(WRITE, [row(service) for service in self.services.values()])
        marks = [(name,) for name, service in self.services.items() if service.drained]
        db.executemany("INSERT OR IGNORE INTO drained VALUES (?)", marks)
        db.execute("UPDATE revision SET value = ?, events = ?", (self.revision, self.last))
        db.execute("COMMIT")


def read_event(columns: tuple) -> Event:
    return Event(**dict(zip(Event.__struct_fields__, columns, strict=True)))


def surplus(reported: Sequence[Event]) -> Iterator[int]:
    """Yield the ids of the events over their reporters' share, or over that of all: pure. The newest come first."""
    counts: Counter[str] = Counter()
    kept = 0
    for event in reported:
        name = reporter_of(event)
        if counts[name] < MAX_EVENTS_PER_REPORTER and kept < MAX_REPORTED_EVENTS:
            counts[name] += 1
            kept += 1
        else:
            yield event.id


def row(service: Service) -> dict[str, object]:
    return {**{f: getattr(service, f) for f in FIELDS}, "metadata": msgspec.json.encode(service.metadata)}


def _service(found: tuple) -> Service:
    told = dict(zip(FIELDS, found, strict=False))
    told["metadata"] = msgspec.json.decode(told["metadata"])
    told["expired"] = bool(told["expired"])
    return Service(**told, drained=bool(found[-1]))
