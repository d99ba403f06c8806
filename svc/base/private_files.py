"""Write files with secrets, state or logs so that only their owner and group may read them, whatever the umask."""

import contextlib
import functools
import os
import stat
from pathlib import Path
from typing import IO

from svc.base import atomic_file, file_owner

MODE = 0o640
OWNER_ONLY = 0o600
DIRECTORY_MODE = 0o750


def write(path: Path, data: bytes, mode: int = MODE, durable: bool = True) -> None:
    """Write a file atomically; raise OSError. With `durable`, the file survives a power failure after this call.

    An existing file keeps its owner, even if root writes, and its mode if that is stricter than `mode`.
    """
    keep_owner = functools.partial(file_owner.keep, path=path)
    atomic_file.write(path, data, limited_mode(path, mode), durable, keep_owner)


def append(path: str | Path, buffer: int = -1) -> IO[bytes]:
    """Return a file that is open for appending; create it, or restrict the mode of an existing one."""
    descriptor = file_owner.open_or_create(Path(path), os.O_WRONLY | os.O_APPEND, MODE)
    tighten(path)
    return open(descriptor, "ab", buffer)


def prepare(path: Path) -> None:
    """Create an empty private file before a library opens it, because the library would use the umask for its mode.

    Restrict the mode of an existing file.
    """
    with contextlib.suppress(OSError):  # the library will report a more helpful error when it opens the file
        os.close(file_owner.open_or_create(path, os.O_RDWR, MODE))
        tighten(path)


def make_directory(path: Path) -> None:
    """Create a private directory, and its parents with the mode that the umask allows; raise OSError."""
    file_owner.make_directories(path.parent)
    file_owner.make_directories(path, DIRECTORY_MODE)


def tighten(path: str | Path | int, mode: int = MODE) -> None:
    """Remove the mode bits of a regular file that are not in `mode`; ignore a missing file and another user's file.

    For root, ignore a link, too: another user may have made it, and its target may be any file.
    """
    if os.geteuid() == 0 and not isinstance(path, int):
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                _tighten(f"/proc/self/fd/{descriptor}", mode)  # by this path, because fchmod refuses O_PATH descriptors
            finally:
                os.close(descriptor)
    else:
        _tighten(path, mode)


def _tighten(path: str | Path | int, mode: int) -> None:
    with contextlib.suppress(OSError):
        status = os.stat(path)
        if stat.S_ISREG(status.st_mode) and stat.S_IMODE(status.st_mode) & ~mode:
            os.chmod(path, stat.S_IMODE(status.st_mode) & mode)


def limited_mode(path: Path, mode: int) -> int:
    """Return the mode for a file's new version: `mode` without the bits that the current file lacks."""
    try:
        return stat.S_IMODE(path.stat().st_mode) & mode
    except OSError:
        return mode
