"""Positions in a program's log file, to which all its processes append, and the output between two positions."""

import dataclasses
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

MAX_FILES = 1000  # limit for the files of one log: the log itself and its rotated files
DEVICES = "/dev/"
MISSING = 0  # the inode of a file that does not exist


@dataclasses.dataclass(frozen=True, slots=True)
class LogPosition:
    """A position in a log file. The inode identifies the file, because rotations rename it to FILE.1, FILE.2, ..."""

    inode: int
    offset: int


def end_of(path: str) -> LogPosition:
    """Return the position at the end of a log file, which need not exist yet."""
    try:
        status = os.stat(path)
    except OSError:
        return LogPosition(MISSING, 0)
    return LogPosition(status.st_ino, status.st_size)


def is_log_file(path: str | Path) -> bool:
    """Return whether a log is a file; False for supervisord's stdout, to which programs write if logs/ is read-only."""
    return not str(path).startswith(DEVICES)


def read_output(path: Path, begin: LogPosition | None, end: LogPosition | None, max_bytes: int) -> bytes:
    """Return the last `max_bytes` bytes between two positions, or all if there are fewer; raise OSError.

    Without `end`, read to the end of the log. Without `begin`, begin at the start of the newest file. If rotation has
    deleted the file of `begin`, begin at the start of the oldest file.
    """
    if not is_log_file(path):
        raise OSError(errno.ESPIPE, os.strerror(errno.ESPIPE), str(path))
    output, before_end = b"", end is None
    for file in _newest_first(path):
        with file:
            status = os.fstat(file.fileno())
            first, stop = 0, status.st_size
            if end is not None and not before_end:
                before_end = end.inode == status.st_ino
                stop = min(stop, end.offset) if before_end else 0
            is_oldest = begin is None or begin.inode in (status.st_ino, MISSING)
            if begin is not None and begin.inode == status.st_ino and begin.offset <= status.st_size:
                first = begin.offset  # a smaller file was truncated in place: read it from its start
            first = max(first, stop - max_bytes + len(output))
            file.seek(first)
            output = file.read(max(0, stop - first)) + output
        if is_oldest or len(output) >= max_bytes:
            break
    return output


def _newest_first(path: Path) -> Iterator[IO[bytes]]:
    """Yield the log file, which may be missing during a rotation, and its rotated files."""
    for number in range(MAX_FILES):
        try:
            yield path.with_name(f"{path.name}.{number}").open("rb") if number else path.open("rb")
        except FileNotFoundError:
            if number:
                return
