"""Files that hold secrets, state or logs: nobody but their user and group may read them, whatever the umask says."""

import contextlib
import os
import stat
from pathlib import Path
from typing import IO

MODE = 0o640
OWNER_ONLY = 0o600
DIRECTORY_MODE = 0o750


def write(path: Path, data: bytes, mode: int = MODE, durable: bool = True) -> None:
    """Write the file whole or not at all. One that exists keeps a mode that is stricter, and its owner where we may.

    `durable`: it is there after a power cut. Raises OSError.
    """
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    new.unlink(missing_ok=True)  # of a process that was killed
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        with open(os.open(new, flags, limited(path, mode)), "wb") as file:
            hand_over(file.fileno(), path)
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(new, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(new)
        raise
    if durable:
        sync(path.parent)


def append(path: str | Path, buffer: int = -1) -> IO[bytes]:
    """Open the file to append to it; it is made, or its mode tightened."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, MODE)
    tighten(descriptor)
    return open(descriptor, "ab", buffer)


def prepare(path: Path) -> None:
    """Make the file, empty, for a library that would make it by the umask; one that exists is tightened."""
    with contextlib.suppress(OSError):  # the library has better words for what is wrong
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE))
        tighten(path)


def make_directory(path: Path) -> None:
    """Make the directory, and its parents as the umask says. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=DIRECTORY_MODE, exist_ok=True)


def tighten(path: str | Path | int, mode: int = MODE) -> None:
    """Take away what the mode of a regular file has beyond `mode`; nothing where it is not there, or another's."""
    with contextlib.suppress(OSError):
        status = os.stat(path)
        if stat.S_ISREG(status.st_mode) and stat.S_IMODE(status.st_mode) & ~mode:
            os.chmod(path, stat.S_IMODE(status.st_mode) & mode)


def limited(path: Path, mode: int) -> int:
    """Return the mode for the successor of a file: at most `mode`, and at most what it has."""
    try:
        return stat.S_IMODE(path.stat().st_mode) & mode
    except OSError:
        return mode


def hand_over(descriptor: int, path: Path) -> None:
    """If root writes the file, keep the previous owner, else the directory's: its reader need not be root."""
    if os.geteuid() == 0:
        previous = os.stat(path if path.exists() else path.parent)
        if previous.st_uid != 0:
            os.fchown(descriptor, previous.st_uid, previous.st_gid)


def sync(directory: Path) -> None:
    """Make names survive a power cut, too; where the file system cannot, the files stand all the same."""
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
