"""Reads a log file across its rotations: first its last lines, then the lines that are appended.

supervisord and logrotate both rename FILE to FILE.1, FILE.1 to FILE.2, and so on.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

from svc.base.errors import CommandError
from svc.base.printable import log_lines
from svc.supervision.client import Process, SupervisordClient, full_name
from svc.supervision.log_position import MAX_FILES, LogPosition, read_output

BLOCK_BYTES = 1 << 16
MAX_LINE_BYTES = 1 << 20  # a longer line is returned in pieces
TAIL_LINES = 10
RESTARTED_STATES = ("STARTING", "RUNNING")  # in these states, a new process has replaced the failed one
TAIL_BYTES = 8192


class LogFile:
    """A reader of a growing log file. Lines are bytes without line breaks; a missing file has no lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rest = b""  # the beginning of a line whose line break is not written yet
        self._file: IO[bytes] | None = None

    def read_last(self, count: int) -> list[bytes]:
        """Return the last `count` lines, also from rotated files if needed.

        The next `read_new` continues after these lines.
        """
        files = _open_rotations(self.path)
        if not files:
            return []
        self._file, *older = files
        *lines, self.rest = last_lines(self._file, count)
        for file in older:
            if len(lines) < count:
                *earlier, end = last_lines(file, count - len(lines))
                lines = [*earlier, *([end] if end else []), *lines]
            file.close()
        return lines

    def read_new(self) -> list[bytes]:
        """Return the lines that were written since the last call."""
        data = b"".join(self._unread_parts())
        if b"\n" not in data and len(self.rest) + len(data) < MAX_LINE_BYTES:
            self.rest += data
            return []
        *lines, self.rest = (self.rest + data).split(b"\n")
        if len(self.rest) >= MAX_LINE_BYTES:
            lines, self.rest = [*lines, self.rest], b""
        return lines

    def _unread_parts(self) -> Iterator[bytes]:
        """Yield the unread bytes of the open file, then the bytes of each newer file; keep the newest file open."""
        if self._file is not None:
            if os.fstat(self._file.fileno()).st_size < self._file.tell():  # the file was truncated in place
                self._file.seek(0)
            if self._has_its_name():
                yield self._file.read()
                return
        files = _open_rotations(self.path)
        if self._file is not None:
            yield self._file.read()  # read again: programs write to a file until shortly after its rotation
            files = _newer_files(files, self._file)
        for file in reversed(files):
            yield file.read()
            if self._file is not None:
                self._file.close()
            self._file = file

    def _has_its_name(self) -> bool:
        """Return whether the open file is still the file at `path`; False after a rotation."""
        assert self._file
        with suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(self._file.fileno()), os.stat(self.path))
        return False


def last_output(supervisord: SupervisordClient, process: Process) -> list[str]:
    """Return the last lines that a program's most recently failed process logged, with control characters escaped.

    The lines of a new process that has replaced it are left out.
    """
    name = full_name(process)
    while True:
        positions = supervisord.log_positions().get(name, ())
        state = supervisord.process(name).state
        if positions == supervisord.log_positions().get(name, ()):  # equal if no process started between these requests
            break
    if len(positions) > 1 and state in RESTARTED_STATES:
        return tail(Path(process.logfile), *positions)
    return tail(Path(process.logfile), *positions[-1:])


def tail(path: Path, begin: LogPosition | None = None, end: LogPosition | None = None) -> list[str]:
    """Return the last lines of a log between two positions (see `read_output`), with control characters escaped."""
    try:
        lines = read_output(path, begin, end, TAIL_BYTES).splitlines()[-TAIL_LINES:]
    except OSError:
        return []
    return [text for line in lines for text in log_lines(line, colours=False)]


def last_lines(file: IO[bytes], count: int) -> list[bytes]:
    """Return the last `count` lines, then the unfinished line, which may be empty; leave the file at its end."""
    end = start = file.seek(0, os.SEEK_END)
    blocks: list[bytes] = []
    size, breaks = BLOCK_BYTES, 0
    while start and breaks <= count:
        step = min(size, start)
        start -= step
        file.seek(start)
        blocks.append(file.read(step))
        breaks += blocks[-1].count(b"\n")
        size *= 2
    file.seek(end)
    *lines, rest = b"".join(reversed(blocks)).split(b"\n")
    return [*lines[max(0, len(lines) - count) :], rest]


def _open_rotations(path: Path) -> list[IO[bytes]]:
    """Open the log file and its rotated files and return them, the newest first.

    FILE itself may be missing during a rotation. A file that is renamed during this call may be opened under its old
    and under its new name, but it is returned once.
    """
    files: list[IO[bytes]] = []
    for number in range(MAX_FILES):
        file = _open_unless_missing(path.with_name(f"{path.name}.{number}") if number else path)
        if file is None and number:
            break
        if file is not None and files and _is_same_file(files[-1], file):
            file.close()
        elif file is not None:
            files.append(file)
    return files


def _newer_files(files: list[IO[bytes]], current: IO[bytes]) -> list[IO[bytes]]:
    """Return the files that are newer than `current`, and close all others. `files` begins with the newest file.

    If `current` was removed or compressed, return the files that were modified after it.
    """
    end = next((n for n, file in enumerate(files) if _is_same_file(file, current)), None)
    if end is None:
        end = next((n for n, file in enumerate(files) if n and _modified_ns(file) < _modified_ns(current)), len(files))
    for file in files[end:]:
        file.close()
    return files[:end]


def _modified_ns(file: IO[bytes]) -> int:
    return os.fstat(file.fileno()).st_mtime_ns


def _is_same_file(file: IO[bytes], other: IO[bytes]) -> bool:
    return os.path.samestat(os.fstat(file.fileno()), os.fstat(other.fileno()))


def _open_unless_missing(path: Path) -> IO[bytes] | None:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CommandError(f"{path}: cannot read it: {error.strerror}; run svc as a user who may read it") from None
