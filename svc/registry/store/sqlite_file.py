"""The file of the SQLite store: opened, brought up to date, set aside when it is corrupt."""

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
    (
        """CREATE TABLE events (
            id INTEGER PRIMARY KEY, time REAL NOT NULL, kind TEXT NOT NULL, service TEXT NOT NULL,
            source TEXT NOT NULL, message TEXT NOT NULL
        )""",
        "ALTER TABLE revision ADD COLUMN events INTEGER NOT NULL DEFAULT 0",
    ),
)  # each takes a file from one version to the next; an empty file is of version 0
VERSION = len(STEPS)
MAGIC = b"SQLite format 3\0"
SIDECARS = ("", "-wal", "-shm")
UNUSABLE = "{}: cannot keep registrations here: {}; make it writable, move it away or name another with --store"
CORRUPT = ("not a database", "malformed")  # what SQLite says; its codes are told only from Python 3.11 on
FULL = "its disk is full; make room there"
READ_ONLY = "it is read-only; make it, its directory and their file system writable"
SET_ASIDE = (
    "{} was corrupt and is set aside as {}: what was lost with it registers again by itself; "
    "move that file away once you have looked at it"
)


def open_database(path: Path) -> sqlite3.Connection:
    """A corrupt file is renamed and a new one begun, with the operator's drain marks as far as they can be read.

    Raises ConfigError for a file that is another's, OSError or sqlite3.Error for one that cannot be used.
    """
    private_files.make_directory(path.parent)
    try:
        return _opened(path)
    except sqlite3.DatabaseError as error:
        if not is_corrupt(error):
            raise
        if not _is_ours(path):
            raise ConfigError(UNUSABLE.format(path, error)) from None
    marks = _marks(path)
    aside = _set_aside(path)
    log.error(SET_ASIDE.format(path, aside.name))
    db = _opened(path)
    db.executemany("INSERT INTO drained VALUES (?)", marks)
    return db


def is_corrupt(error: Exception) -> bool:
    return isinstance(error, sqlite3.DatabaseError) and any(words in str(error) for words in CORRUPT)


def identity(path: Path) -> int:
    """Which file it is that has this name."""
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0


def must_reopen(error: Exception) -> bool:
    """Whether an open file does not get well: the corrupt one is set aside, one opened read-only stays that."""
    return is_corrupt(error) or "readonly" in str(error)


def disk_trouble(path: Path, error: Exception) -> str:
    """What ails the disk, where it is the disk that keeps the file from being used; else nothing."""
    text, number = str(error), getattr(error, "errno", None)
    if number in (errno.ENOSPC, errno.EDQUOT) or "is full" in text:
        return FULL
    if number == errno.EROFS or "readonly" in text:
        return READ_ONLY
    with suppress(OSError):  # SQLite may say no more than that it cannot
        disk = os.statvfs(path.parent)
        if disk.f_bavail == 0 or disk.f_flag & os.ST_RDONLY:
            return READ_ONLY if disk.f_flag & os.ST_RDONLY else FULL
    return "disk I/O error; look at its disk" if number == errno.EIO or "I/O" in text else ""


def reason(path: Path, error: Exception) -> str:
    """What is wrong with the store at `path`, and what to do."""
    text = disk_trouble(path, error) or getattr(error, "strerror", None) or str(error)
    return f"{path}: the registry cannot use its store: {text}"


def set_aside_before(path: Path) -> str:
    """The newest file that was set aside and still lies there; else nothing."""
    aside = sorted(p.name for p in path.parent.glob(f"{path.name}.corrupt-*") if not p.name.endswith(SIDECARS[1:]))
    return SET_ASIDE.format(path, aside[-1]) if aside else ""


def _opened(path: Path) -> sqlite3.Connection:
    """Transactions are begun by hand; threads take turns. SQLite gives its sidecars the mode of the file."""
    private_files.prepare(path)
    for part in SIDECARS:
        private_files.tighten(path.with_name(path.name + part))
    db = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
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
    (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise sqlite3.DatabaseError(f"it is malformed: {found}")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    if version < VERSION:
        _migrate(db)


def _migrate(db: sqlite3.Connection) -> None:
    """In one transaction, which another process that opens the file waits for."""
    db.execute("BEGIN IMMEDIATE")
    (version,) = db.execute("PRAGMA user_version").fetchone()
    for step in STEPS[version:]:
        for statement in step:
            db.execute(statement)
    db.execute(f"PRAGMA user_version = {VERSION}")
    db.execute("COMMIT")


def _is_ours(path: Path) -> bool:
    """A file of another kind, named by mistake, is not to be moved."""
    with path.open("rb") as file:
        return path.suffix == ".db" or file.read(len(MAGIC)) == MAGIC


def _marks(path: Path) -> list[tuple[str]]:
    with suppress(sqlite3.Error), closing(sqlite3.connect(path)) as db:
        return [(name,) for (name,) in db.execute("SELECT name FROM drained") if isinstance(name, str)]
    return []


def _set_aside(path: Path) -> Path:
    """Under a name that nothing has, with its journal."""
    date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    names = (path.with_name(f"{path.name}.corrupt-{date}{more}") for more in ("", *(f".{n}" for n in range(1, 1000))))
    aside = next(p for p in names if not p.exists())
    for part in SIDECARS:
        with suppress(FileNotFoundError):
            path.with_name(path.name + part).rename(aside.with_name(aside.name + part))
    return aside
