"""Open and migrate the file of the SQLite store; rename it if it is corrupt."""

import errno
import logging
import os
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path

from svc.base import private_files
from svc.base.errors import ConfigError

log = logging.getLogger(__name__)
# Each entry has the statements that migrate a file from one version to the next; an empty file has version 0.
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
)
VERSION = len(MIGRATIONS)
FILE_SIGNATURE = b"SQLite format 3\0"
SUFFIXES = ("", "-wal", "-shm")  # SQLite keeps its journal and shared memory beside the file
BUSY_TIMEOUT_SECONDS = 5
UNUSABLE = "{}: cannot keep registrations here: {}; make it writable, move it away or name another with --store"
CORRUPTION_MESSAGES = ("not a database", "malformed")  # SQLite's messages; Python has no codes before 3.11
DISK_FULL = "its disk is full; make room there"
READ_ONLY = "it is read-only; make it, its directory and their file system writable"
SET_ASIDE = (
    "{} was corrupt and is set aside as {}: what was lost with it registers again by itself; "
    "move that file away once you have looked at it"
)


def open_database(path: Path) -> sqlite3.Connection:
    """Open the database and return the connection.

    If the file is corrupt, rename it and create a new one; copy the operator's drains if they can be read. Raise
    ConfigError if the file belongs to another program, and OSError or sqlite3.Error if it cannot be used.
    """
    private_files.make_directory(path.parent)
    try:
        return _connect(path)
    except sqlite3.DatabaseError as error:
        if not is_corrupt(error):
            raise
        if not _is_database(path):
            raise ConfigError(UNUSABLE.format(path, error)) from None
    marks = _read_drain_marks(path)
    aside = _set_aside(path)
    log.error(SET_ASIDE.format(path, aside.name))
    db = _connect(path)
    db.executemany("INSERT INTO drained VALUES (?)", marks)
    return db


def is_corrupt(error: Exception) -> bool:
    return isinstance(error, sqlite3.DatabaseError) and any(message in str(error) for message in CORRUPTION_MESSAGES)


def identity(path: Path) -> int:
    """Return the inode of the file at this path, 0 if there is none."""
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0


def must_reopen(error: Exception) -> bool:
    """Return whether the error can only be cured by reopening the file: it is corrupt, or was opened read-only."""
    return is_corrupt(error) or "readonly" in str(error)


def disk_trouble(path: Path, error: Exception) -> str:
    """Return what is wrong with the disk if this caused the error, else ""."""
    text, number = str(error), getattr(error, "errno", None)
    if number in (errno.ENOSPC, errno.EDQUOT) or "is full" in text:
        return DISK_FULL
    if number == errno.EROFS or "readonly" in text:
        return READ_ONLY
    with suppress(OSError):  # SQLite's own message may say only that it cannot open the file
        disk = os.statvfs(path.parent)
        if disk.f_bavail == 0 or disk.f_flag & os.ST_RDONLY:
            return READ_ONLY if disk.f_flag & os.ST_RDONLY else DISK_FULL
    return "disk I/O error; look at its disk" if number == errno.EIO or "I/O" in text else ""


def reason(path: Path, error: Exception) -> str:
    """Return a message for an error of the store at `path`, with the remedy."""
    text = disk_trouble(path, error) or getattr(error, "strerror", None) or str(error)
    return f"{path}: the registry cannot use its store: {text}"


def past_corruption(path: Path) -> str:
    """Return a message about the newest renamed corrupt file that still exists, or "" if there is none."""
    aside = sorted(p.name for p in path.parent.glob(f"{path.name}.corrupt-*") if not p.name.endswith(SUFFIXES[1:]))
    return SET_ASIDE.format(path, aside[-1]) if aside else ""


def _connect(path: Path) -> sqlite3.Connection:
    """Return a connection without implicit transactions. Threads may use it one after the other.

    First restrict the modes of the existing files. SQLite gives new -wal and -shm files the mode of the database file.
    """
    private_files.prepare(path)
    for suffix in SUFFIXES:
        private_files.tighten(path.with_name(path.name + suffix))
    db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        _prepare(db)
    except BaseException:
        db.close()
        raise
    return db


def _prepare(db: sqlite3.Connection) -> None:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise sqlite3.NotSupportedError(f"it is of version {version}, this program knows {VERSION}")
    (check_result,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if check_result != "ok":
        raise sqlite3.DatabaseError(f"it is malformed: {check_result}")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    if version < VERSION:
        _migrate(db)


def _migrate(db: sqlite3.Connection) -> None:
    """Migrate the file in one transaction; another process that opens the file meanwhile waits for its end."""
    db.execute("BEGIN IMMEDIATE")
    (version,) = db.execute("PRAGMA user_version").fetchone()
    for migration in MIGRATIONS[version:]:
        for statement in migration:
            db.execute(statement)
    db.execute(f"PRAGMA user_version = {VERSION}")
    db.execute("COMMIT")


def _is_database(path: Path) -> bool:
    """Return whether the file is a SQLite database, or at least has the name of one, `*.db`.

    Any other file was configured by mistake and must not be renamed.
    """
    with path.open("rb") as file:
        return path.suffix == ".db" or file.read(len(FILE_SIGNATURE)) == FILE_SIGNATURE


def _read_drain_marks(path: Path) -> list[tuple[str]]:
    with suppress(sqlite3.Error), closing(sqlite3.connect(path)) as db:
        return [(name,) for (name,) in db.execute("SELECT name FROM drained") if isinstance(name, str)]
    return []


def _set_aside(path: Path) -> Path:
    """Rename the file and its journal to an unused name; return the new path."""
    date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    suffixes = ("", *(f".{number}" for number in range(1, 1000)))
    names = (path.with_name(f"{path.name}.corrupt-{date}{suffix}") for suffix in suffixes)
    aside = next(p for p in names if not p.exists())
    for suffix in SUFFIXES:
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    return aside
