"""Open and migrate SQLite files in WAL mode, rename corrupt ones, and explain errors that the disk has caused.

With synchronous=NORMAL the kernel has the data when a commit returns, so a killed process loses nothing. A power cut
may lose the last commits, but does not corrupt the file.
"""

import errno
import os
import sqlite3
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from svc.base import private_files

FILE_SIGNATURE = b"SQLite format 3\0"
SUFFIXES = ("", "-wal", "-shm")  # SQLite keeps its journal and shared memory beside the file
BUSY_TIMEOUT_SECONDS = 5
CORRUPTION_MESSAGES = ("not a database", "malformed")  # SQLite's messages, because Python has no codes before 3.11
DISK_FULL = "its disk is full; make room there"
READ_ONLY = "it is read-only; make it, its directory and their file system writable"

# Each entry has the statements that migrate a file from one version to the next; an empty file has version 0.
Migrations = Sequence[Sequence[str]]


def connect(path: Path, migrations: Migrations, is_checked: bool = True) -> sqlite3.Connection:
    """Return a connection without implicit transactions. Threads may use it one after the other.

    With `is_checked`, first search the whole file for damage, which takes long if the file is large. Raise OSError or
    sqlite3.Error if the file cannot be used. Remove the rights of other users from the existing files; SQLite gives new
    -wal and -shm files the mode of the database file.
    """
    private_files.prepare(path)
    for suffix in SUFFIXES:
        private_files.tighten(path.with_name(path.name + suffix))
    db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        _prepare(db, migrations, is_checked)
    except BaseException:
        db.close()
        raise
    return db


def is_corrupt(error: Exception) -> bool:
    return isinstance(error, sqlite3.DatabaseError) and any(message in str(error) for message in CORRUPTION_MESSAGES)


def identity(path: Path) -> int:
    """Return the inode of the file at this path; 0 if there is no file."""
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0


def must_reopen(error: Exception) -> bool:
    """Return whether the file must be opened again because of the error: it is corrupt, or was opened read-only."""
    return is_corrupt(error) or "readonly" in str(error)


def disk_trouble(path: Path, error: Exception) -> str:
    """Return what is wrong with the disk of `path` if that has caused the error, else ""."""
    text, number = str(error), getattr(error, "errno", None)
    if number in (errno.ENOSPC, errno.EDQUOT) or "is full" in text:
        return DISK_FULL
    if number == errno.EROFS or "readonly" in text:
        return READ_ONLY
    with suppress(OSError):  # SQLite may report only that it cannot open the file; the disk's state says why
        disk = os.statvfs(path.parent)
        if disk.f_bavail == 0 or disk.f_flag & os.ST_RDONLY:
            return READ_ONLY if disk.f_flag & os.ST_RDONLY else DISK_FULL
    return "disk I/O error; look at its disk" if number == errno.EIO or "I/O" in text else ""


def reason(path: Path, error: Exception) -> str:
    """Return the reason for an error of the file: what `disk_trouble` returns, or else the error's own text."""
    return disk_trouble(path, error) or getattr(error, "strerror", None) or str(error)


def is_database(path: Path) -> bool:
    """Return whether the file is a SQLite database, or at least has the name of one, `*.db`.

    Any other file was configured by mistake and must not be renamed.
    """
    with path.open("rb") as file:
        return path.suffix == ".db" or file.read(len(FILE_SIGNATURE)) == FILE_SIGNATURE


def set_aside(path: Path) -> Path:
    """Rename a corrupt file and its journal to an unused name; return the new path."""
    date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    suffixes = ("", *(f".{number}" for number in range(1, 1000)))
    names = (path.with_name(f"{path.name}.corrupt-{date}{suffix}") for suffix in suffixes)
    aside = next(p for p in names if not p.exists())
    for suffix in SUFFIXES:
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    return aside


def last_set_aside(path: Path) -> str:
    """Return the name of the newest file that `set_aside` has renamed and that still exists; "" if there is none."""
    names = (p.name for p in path.parent.glob(f"{path.name}.corrupt-*") if not p.name.endswith(SUFFIXES[1:]))
    return max(names, default="")


def _prepare(db: sqlite3.Connection, migrations: Migrations, is_checked: bool) -> None:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > len(migrations):
        raise sqlite3.NotSupportedError(f"it is of version {version}, this program knows {len(migrations)}")
    if is_checked:
        (check_result,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if check_result != "ok":
            raise sqlite3.DatabaseError(f"it is malformed: {check_result}")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    if version < len(migrations):
        _migrate(db, migrations)


def _migrate(db: sqlite3.Connection, migrations: Migrations) -> None:
    """Migrate the file in one transaction; another process that opens the file meanwhile waits until that has ended."""
    db.execute("BEGIN IMMEDIATE")
    (version,) = db.execute("PRAGMA user_version").fetchone()
    for migration in migrations[version:]:
        for statement in migration:
            db.execute(statement)
    db.execute(f"PRAGMA user_version = {len(migrations)}")
    db.execute("COMMIT")
