"""One log file through its rotations: its last lines, and what is written next.

supervisord and logrotate both move FILE to FILE.1, that one to FILE.2, and so on.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

from svc.base.errors import CommandError

BLOCK = 1 << 16  # bytes
MOST = 1000  # files of one log
LONGEST = 1 << 20  # bytes of a line that are waited for, before it is told in pieces


class LogFile:
    """Lines are bytes without their end. A file that is not there yet is one without lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rest = b""  # the line that has no end yet
        self._file: IO[bytes] | None = None

    def last(self, count: int) -> list[bytes]:
        """The last lines, of rotated files too where that is needed; `new` goes on from there."""
        there = _opened(self.path)
        if not there:
            return []
        self._file, *older = there
        *lines, self.rest = last_lines(self._file, count)
        for file in older:
            if len(lines) < count:
                *more, end = last_lines(file, count - len(lines))
                lines = [*more, *([end] if end else []), *lines]
            file.close()
        return lines

    def new(self) -> list[bytes]:
        """The lines that have come since."""
        data = b"".join(self._new())
        if b"\n" not in data and len(self.rest) + len(data) < LONGEST:
            self.rest += data
            return []
        *lines, self.rest = (self.rest + data).split(b"\n")
        if len(self.rest) >= LONGEST:
            lines, self.rest = [*lines, self.rest], b""
        return lines

    def _new(self) -> Iterator[bytes]:
        """What can be read of the open file, then of those that came after it; the last of them stays open."""
        if self._file is not None:
            if os.fstat(self._file.fileno()).st_size < self._file.tell():  # emptied where it stands
                self._file.seek(0)
            if self._stands():
                yield self._file.read()
                return
        came = _opened(self.path)
        if self._file is not None:
            yield self._file.read()  # once more: it was written to until it was moved, and for a moment after
            came = _later(came, self._file)
        for file in reversed(came):
            yield file.read()
            if self._file is not None:
                self._file.close()
            self._file = file

    def _stands(self) -> bool:
        """Whether the open file still has the name."""
        assert self._file
        with suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(self._file.fileno()), os.stat(self.path))
        return False


def last_lines(file: IO[bytes], count: int) -> list[bytes]:
    """The last `count` lines and the unfinished one after them, often empty; leaves the file at that end."""
    end = start = file.seek(0, os.SEEK_END)
    blocks: list[bytes] = []
    size, breaks = BLOCK, 0
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


def _opened(path: Path) -> list[IO[bytes]]:
    """The file and those it was moved to, the newest first; the first may be missing between two.

    Where one is moved meanwhile it is met twice, and counts once; none is missed.
    """
    found: list[IO[bytes]] = []
    for number in range(MOST):
        file = _open(path.with_name(f"{path.name}.{number}") if number else path)
        if file is None and number:
            break
        if file is not None and found and _same(found[-1], file):
            file.close()
        elif file is not None:
            found.append(file)
    return found


def _later(files: list[IO[bytes]], than: IO[bytes]) -> list[IO[bytes]]:
    """Those that were begun after one of them, the others closed; where that one is not there any more (removed, or
    compressed), those that were written to after it."""
    known = next((n for n, file in enumerate(files) if _same(file, than)), None)
    if known is None:
        known = next((n for n, file in enumerate(files) if n and _written(file) < _written(than)), len(files))
    for file in files[known:]:
        file.close()
    return files[:known]


def _written(file: IO[bytes]) -> int:
    return os.fstat(file.fileno()).st_mtime_ns


def _same(one: IO[bytes], other: IO[bytes]) -> bool:
    return os.path.samestat(os.fstat(one.fileno()), os.fstat(other.fileno()))


def _open(path: Path) -> IO[bytes] | None:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CommandError(f"{path}: cannot read it: {error.strerror}; ask as a user who may") from None
