"""Open and migrate the file of the SQLite store; rename it if it is corrupt."""

import logging
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from svc.base import private_files, sqlite_file
from svc.base.errors import ConfigError

log = logging.getLogger(__name__)
MIGRATIONS = (
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
    (
        """CREATE TABLE events (
            id INTEGER PRIMARY KEY, time REAL NOT NULL, kind TEXT NOT NULL, service TEXT NOT NULL,
            source TEXT NOT NULL, message TEXT NOT NULL
        )""",
        "ALTER TABLE revision ADD COLUMN events INTEGER NOT NULL DEFAULT 0",
    ),
    (
        "ALTER TABLE events ADD COLUMN actor TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE events ADD COLUMN address TEXT NOT NULL DEFAULT ''",
    ),
    ("ALTER TABLE drained ADD COLUMN handover INTEGER NOT NULL DEFAULT 0",),
)
UNUSABLE = "{}: cannot keep registrations here: {}; make it writable, move it away or name another with --store"
SET_ASIDE = (
    "{} was corrupt and is set aside as {}: what was lost with it registers again by itself; "
    "move that file away once you have looked at it"
)


def open_database(path: Path) -> sqlite3.Connection:
    """Open the database and return the connection.

    If the file is corrupt, rename it, create a new one, and copy the operator's drains to it if they can be read. Raise
    ConfigError if the file belongs to another program, and OSError or sqlite3.Error if it cannot be used.
    """
    private_files.make_directory(path.parent)
    try:
        return sqlite_file.connect(path, MIGRATIONS)
    except sqlite3.DatabaseError as error:
        if not sqlite_file.is_corrupt(error):
            raise
        if not sqlite_file.is_database(path):
            raise ConfigError(UNUSABLE.format(path, error)) from None
    marks = _read_drain_marks(path)
    aside = sqlite_file.set_aside(path)
    log.error(SET_ASIDE.format(path, aside.name))
    db = sqlite_file.connect(path, MIGRATIONS)
    db.executemany("INSERT INTO drained (name) VALUES (?)", marks)
    return db


def reason(path: Path, error: Exception) -> str:
    """Return a message for an error of the store at `path`, with the remedy."""
    return f"{path}: the registry cannot use its store: {sqlite_file.reason(path, error)}"


def past_corruption(path: Path) -> str:
    """Return a message about the newest renamed corrupt file that still exists, or "" if there is none."""
    aside = sqlite_file.last_set_aside(path)
    return SET_ASIDE.format(path, aside) if aside else ""


def _read_drain_marks(path: Path) -> list[tuple[str]]:
    with suppress(sqlite3.Error), closing(sqlite3.connect(path)) as db:
        return [(name,) for (name,) in db.execute("SELECT name FROM drained") if isinstance(name, str)]
    return []
