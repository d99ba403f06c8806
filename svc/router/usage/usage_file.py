"""The file of the ledger, in SQLite: rows for each hour, and for older times rows for each day.

All calls may block, for as long as the disk does: the caller makes them where no request waits for them. Each is one
statement for SQLite, which runs without Python's lock.
"""

import logging
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import msgspec

from svc.base import private_files, sqlite_file
from svc.base.errors import ConfigError
from svc.base.local_time import day_around
from svc.protocol.usage import COUNT_NAMES, UsageRow
from svc.router.usage.usage_sums import UsageEntry

log = logging.getLogger(__name__)
COLUMNS = ", ".join(("time", "key", "user", "model", *COUNT_NAMES))
_TABLE = (
    "CREATE TABLE {} (time INTEGER NOT NULL, key TEXT NOT NULL, user TEXT NOT NULL, model TEXT NOT NULL, "
    "requests INTEGER NOT NULL, failed INTEGER NOT NULL, prompt INTEGER NOT NULL, cached INTEGER NOT NULL, "
    "completion INTEGER NOT NULL, estimated INTEGER NOT NULL, stream_seconds REAL NOT NULL, "
    "queue_seconds REAL NOT NULL, PRIMARY KEY (time, key, user, model)) WITHOUT ROWID"
)
# `time` is the beginning of the hour, or of the day in the router's time zone, in Unix seconds.
MIGRATIONS = ((_TABLE.format("hours"), _TABLE.format("days")),)
_SUM = f"DO UPDATE SET {', '.join(f'{name} = {name} + excluded.{name}' for name in COUNT_NAMES)}"
_FIELDS = ", ".join(f"json_extract(value, '$[{at}]')" for at in range(4 + len(COUNT_NAMES)))
ADD_ROWS = f"INSERT INTO hours ({COLUMNS}) SELECT {_FIELDS} FROM json_each(?) WHERE true ON CONFLICT {_SUM}"
_SUMS = ", ".join(f"sum({name})" for name in COUNT_NAMES)
CONDENSE = (
    f"INSERT INTO days ({COLUMNS}) SELECT ?, key, user, model, {_SUMS} FROM hours WHERE time < ? "
    f"GROUP BY key, user, model ON CONFLICT {_SUM}"
)
DELETE = "DELETE FROM hours WHERE time < ?"
COUNT_TABLES = "SELECT count(*) FROM sqlite_master WHERE name = 'days'"
OLDEST = "SELECT min(time) FROM hours"
_BOTH = f"(SELECT {COLUMNS} FROM hours UNION ALL SELECT {COLUMNS} FROM days)"
EXPRESSIONS = {
    "key": "key",
    "user": "user",
    "model": "model",
    "day": "date(time, 'unixepoch', 'localtime')",
    "hour": "strftime('%Y-%m-%dT%H:00', time, 'unixepoch', 'localtime')",
}
MAX_READ_ROWS = 100_000
SET_ASIDE = "{} was corrupt and is set aside as {}: what it counted is in that file only"
UNUSABLE = "{}: cannot keep the usage here: {}; move it away, or name another with usage_file"

_decode_rows = msgspec.json.Decoder(list[UsageRow]).decode


class UsageFile:
    """The file, for the one process of a router that writes it.

    If several routers write one file, their rows add up.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db: sqlite3.Connection | None = None
        self._file_id = 0

    def add(self, entries: Sequence[UsageEntry]) -> None:
        """Add these rows to those in the file; raise OSError, sqlite3.Error or ConfigError, and then add none."""
        rows = msgspec.json.encode(entries).decode()
        with self._recovering():
            self._connection().execute(ADD_ROWS, (rows,))

    def condense(self, before: float) -> None:
        """Sum the hours of each day that has ended before this time to one row of that day; raise as `add` does."""
        with self._recovering():
            self._condense(self._connection(), before)

    def _condense(self, db: sqlite3.Connection, before: float) -> None:
        while True:
            (oldest,) = db.execute(OLDEST).fetchone()
            if oldest is None:
                return
            start, end = day_around(oldest)
            if end > before:
                return
            db.execute("BEGIN IMMEDIATE")
            try:
                db.execute(CONDENSE, (start, end))
                db.execute(DELETE, (end,))
                db.execute("COMMIT")
            finally:
                with suppress(sqlite3.Error):
                    if db.in_transaction:
                        db.execute("ROLLBACK")

    def close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def reason(self, error: Exception) -> str:
        """Return a message for an error of this file, with the remedy."""
        if isinstance(error, ConfigError):
            return error.message
        return f"{self.path}: cannot write the usage: {sqlite_file.reason(self.path, error)}"

    def _connection(self) -> sqlite3.Connection:
        if self._db is not None and sqlite_file.identity(self.path) != self._file_id:
            self.close()  # the file was removed or replaced: writes to the old one would be lost
        if self._db is None:
            private_files.make_directory(self.path.parent)
            try:
                self._db = sqlite_file.connect(self.path, MIGRATIONS, is_checked=False)
            except sqlite3.DatabaseError as error:
                if not sqlite_file.is_corrupt(error):
                    raise
                self._set_aside(error)
                self._db = sqlite_file.connect(self.path, MIGRATIONS, is_checked=False)
            self._file_id = sqlite_file.identity(self.path)
        return self._db

    @contextmanager
    def _recovering(self) -> Iterator[None]:
        """Close the file after an error that persists while it is open. Set a corrupt file aside. Raise the error."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            if sqlite_file.must_reopen(error):
                self.close()
                if sqlite_file.is_corrupt(error):
                    self._set_aside(error)
            raise

    def _set_aside(self, error: sqlite3.DatabaseError) -> None:
        if not sqlite_file.is_database(self.path):
            raise ConfigError(UNUSABLE.format(self.path, error)) from None
        log.error(SET_ASIDE.format(self.path, sqlite_file.set_aside(self.path).name))


def read(path: Path, by: Sequence[str], since: float, until: float) -> bytes:
    """Return the sums of the rows from `since` to `until` by these dimensions, as a JSON list of UsageRow.

    Return at most MAX_READ_ROWS, those with the most tokens. A missing file has no rows. SQLite writes the JSON, so
    that Python's lock is not held for each row. Raise OSError or sqlite3.Error.
    """
    if not path.exists():
        return b"[]"
    with closing(_open_to_read(path)) as db:
        (tables,) = db.execute(COUNT_TABLES).fetchone()
        if not tables:  # a router creates the file at this moment
            return b"[]"
        (rows,) = db.execute(_query(by), (since, until)).fetchone()
    return str(rows).encode()


def read_rows(path: Path, by: Sequence[str], since: float, until: float) -> list[UsageRow]:
    """Return what `read` returns, decoded."""
    return _decode_rows(read(path, by, since, until))


def _open_to_read(path: Path) -> sqlite3.Connection:
    """Return a connection that only reads.

    In a directory without write access, SQLite cannot open a journal, so the file is read as one without a journal.
    """
    uri = f"{path.absolute().as_uri()}?mode=ro"
    db = sqlite3.connect(uri, uri=True, timeout=sqlite_file.BUSY_TIMEOUT_SECONDS)
    try:
        db.execute(COUNT_TABLES)
    except sqlite3.OperationalError:
        db.close()
        db = sqlite3.connect(uri + "&immutable=1", uri=True)
    return db


def _query(by: Sequence[str]) -> str:
    names = [*by, *COUNT_NAMES]
    columns = [f"{EXPRESSIONS[name]} AS {name}_" for name in by]
    columns += [f"sum({name}) AS {name}_" for name in COUNT_NAMES]
    groups = ", ".join(f"{name}_" for name in by) or "''"  # a constant: all rows are one group
    rows = (
        f"SELECT {', '.join(columns)} FROM {_BOTH} WHERE time >= ? AND time < ? "
        f"GROUP BY {groups} ORDER BY prompt_ + completion_ DESC LIMIT {MAX_READ_ROWS}"
    )
    fields = ", ".join(f"'{name}', {name}_" for name in names)
    return f"SELECT json_group_array(json_object({fields})) FROM ({rows})"
