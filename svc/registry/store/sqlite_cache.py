"""The content of a SQLite file, cached in memory, because decoding thousands of rows for each reader would be slow."""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from svc.protocol.event import REGISTRY_SOURCE, Event, reporter_of
from svc.protocol.service import Service
from svc.registry.store.contract import (
    AUDIT_RETENTION_SECONDS,
    MAX_AUDIT_EVENTS,
    MAX_AUDIT_EVENTS_PER_ACTOR,
    MAX_EVENTS_PER_REPORTER,
    MAX_OWN_EVENTS,
    MAX_RECENT_AUDIT_EVENTS,
    MAX_REPORTED_EVENTS,
)

Row = tuple[Any, ...]
COLUMNS = tuple(f for f in Service.__struct_fields__ if f not in ("drained", "handover"))
SELECT_SERVICES = f"SELECT {', '.join(COLUMNS)}, handover FROM services LEFT JOIN drained USING (name)"
WRITE_SERVICE = f"INSERT OR REPLACE INTO services ({', '.join(COLUMNS)}) VALUES ({', '.join(':' + c for c in COLUMNS)})"

EVENT_COLUMNS = Event.__struct_fields__
SELECT_EVENT = f"SELECT {', '.join(EVENT_COLUMNS)} FROM events"
SELECT_AUDIT_AFTER = f"{SELECT_EVENT} WHERE id > ?1 AND actor <> '' ORDER BY id"
SELECT_EVENTS_AFTER = f"""
{SELECT_EVENT} WHERE id > ?1 AND actor = ''
UNION ALL SELECT * FROM (
    {SELECT_EVENT} WHERE id > ?1 AND actor <> '' ORDER BY id DESC LIMIT {MAX_RECENT_AUDIT_EVENTS})
ORDER BY id
"""
SELECT_REPORTED = f"{SELECT_EVENT} WHERE source <> '{REGISTRY_SOURCE}' AND actor = '' ORDER BY id DESC"
INSERT_EVENT = f"INSERT INTO events ({', '.join(EVENT_COLUMNS)}) VALUES ({', '.join(':' + c for c in EVENT_COLUMNS)})"


def _delete_old(condition: str, limit: int) -> str:
    """Return the statement that deletes the events that satisfy a condition, except the newest `limit`."""
    return (
        f"DELETE FROM events WHERE {condition} AND id <= "
        f"(SELECT id FROM events WHERE {condition} ORDER BY id DESC LIMIT 1 OFFSET {limit})"
    )


DELETE_OLD_OWN_EVENTS = _delete_old(f"source = '{REGISTRY_SOURCE}' AND actor = ''", MAX_OWN_EVENTS)
DELETE_OLD_EVENTS_OF_ACTOR = _delete_old(
    "(actor = :actor OR (actor > :actor || '@' AND actor < :actor || 'A'))", MAX_AUDIT_EVENTS_PER_ACTOR
)  # the actor, or one that begins with it and @: `unverified` selects `unverified@ADDRESS` (A follows @ in ASCII)
DELETE_OLD_AUDIT = _delete_old("actor <> ''", MAX_AUDIT_EVENTS)
DELETE_PAST_AUDIT = "DELETE FROM events WHERE actor <> '' AND time < ?"


class SqliteCache:
    """The cached services, revision and last event id. `put` and `add_events` take effect with `commit`.

    The file is read again only after another process has written to it.
    """

    def __init__(self) -> None:
        self.services: dict[str, Service] = {}
        self.revision = 0
        self.raises_revision = False  # whether the current transaction raises the revision
        self.last_event_id = 0
        self._pending_events: list[Event] = []
        self._pending_services: dict[str, Service | None] = {}
        self._data_version: int | None = None  # PRAGMA data_version: changes when another process writes

    def read(self, db: sqlite3.Connection) -> None:
        """Bring the cache up to date; callers call this within a transaction."""
        (data_version,) = db.execute("PRAGMA data_version").fetchone()
        if data_version != self._data_version:
            self.revision, self.last_event_id = db.execute("SELECT value, events FROM revision").fetchone()
            self.services = {row[0]: _service(row) for row in db.execute(SELECT_SERVICES)}
            self._data_version = data_version

    def put(self, name: str, service: Service | None) -> None:
        """Replace the service `name`; None removes it."""
        self._pending_services[name] = service

    def add_events(self, db: sqlite3.Connection, events: Iterable[Event]) -> list[Event]:
        """Write events and return them with their ids; callers call this within a transaction."""
        first_id = self.last_event_id + len(self._pending_events) + 1
        added = [replace(event, id=number) for number, event in enumerate(events, first_id)]
        if added:
            self._pending_events += added
            db.executemany(INSERT_EVENT, [msgspec.to_builtins(event) for event in added])
            db.execute(DELETE_OLD_OWN_EVENTS)
            for actor in {event.actor.partition("@")[0] for event in added if event.actor}:
                db.execute(DELETE_OLD_EVENTS_OF_ACTOR, {"actor": actor})
                db.execute(DELETE_OLD_AUDIT)
                db.execute(DELETE_PAST_AUDIT, (added[-1].time - AUDIT_RETENTION_SECONDS,))
            if any(event.source != REGISTRY_SOURCE and not event.actor for event in added):
                reported = [read_event(row) for row in db.execute(SELECT_REPORTED)]
                db.executemany("DELETE FROM events WHERE id = ?", [(number,) for number in surplus(reported)])
            db.execute("UPDATE revision SET events = ?", (added[-1].id,))
        return added

    def commit(self) -> list[Event]:
        """Apply the changes of the transaction to the cache, and return the added events."""
        for name, service in self._pending_services.items():
            if service is None:
                self.services.pop(name, None)
            else:
                self.services[name] = service
        self.revision += self.raises_revision
        self.last_event_id += len(self._pending_events)
        return self._pending_events

    def discard_pending(self) -> None:
        self._pending_services = {}
        self._pending_events = []
        self.raises_revision = False

    def restore(self, db: sqlite3.Connection) -> None:
        """Use a file that was just opened; if it is new, write the cached content to it."""
        self._data_version = None
        (revision,) = db.execute("SELECT value FROM revision").fetchone()
        if revision or not self.revision:
            return
        db.execute("BEGIN IMMEDIATE")
        db.executemany(WRITE_SERVICE, [to_row(service) for service in self.services.values()])
        marks = [(name, service.handover) for name, service in self.services.items() if service.drained]
        db.executemany("INSERT OR IGNORE INTO drained VALUES (?, ?)", marks)
        db.execute("UPDATE revision SET value = ?, events = ?", (self.revision, self.last_event_id))
        db.execute("COMMIT")


def read_event(row: Row) -> Event:
    return Event(**dict(zip(EVENT_COLUMNS, row, strict=True)))


def surplus(reported: Sequence[Event]) -> Iterator[int]:
    """Yield the ids of the events to delete: the oldest beyond the limit for one reporter or for all together.

    `reported` is sorted, newest first.
    """
    counts: Counter[str] = Counter()
    kept = 0
    for event in reported:
        reporter = reporter_of(event)
        if counts[reporter] < MAX_EVENTS_PER_REPORTER and kept < MAX_REPORTED_EVENTS:
            counts[reporter] += 1
            kept += 1
        else:
            yield event.id


def to_row(service: Service) -> dict[str, object]:
    """Return the service as parameters of the statement WRITE_SERVICE."""
    return {**{c: getattr(service, c) for c in COLUMNS}, "metadata": msgspec.json.encode(service.metadata)}


def _service(row: Row) -> Service:
    fields = dict(zip(COLUMNS, row, strict=False))
    fields["metadata"] = msgspec.json.decode(fields["metadata"])
    fields["expired"] = bool(fields["expired"])
    handover = row[-1]  # NULL if the service is not drained
    return Service(**fields, drained=handover is not None, handover=bool(handover))
