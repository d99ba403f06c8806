"""Write a file atomically: to a temporary file in the same directory, which then replaces the file."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

OnOpen = Callable[[int], object]  # called with the descriptor of the new file, before anything is written


def _ignore(descriptor: int) -> None:
    """Do nothing: the default of `on_open`."""


def write(path: Path, data: bytes, mode: int, durable: bool = True, on_open: OnOpen = _ignore) -> None:
    """Replace the content of `path`; if that fails, raise OSError and leave the file unchanged.

    With `durable`, the new content survives a power failure after this call.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")  # the pid, because two processes may write `path`
    try:
        stage(temporary, data, mode, durable, on_open)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    if durable:
        sync_directory(path.parent)


def stage(temporary: Path, data: bytes, mode: int, durable: bool = True, on_open: OnOpen = _ignore) -> None:
    """Write `data` to the file `temporary`, which the caller then moves with `os.replace`; raise OSError."""
    temporary.unlink(missing_ok=True)  # a process that was killed may have left this file behind
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with open(os.open(temporary, flags, mode), "wb") as file:
        on_open(file.fileno())
        file.write(data)
        file.flush()
        if durable:
            os.fsync(file.fileno())


def sync_directory(directory: Path) -> None:
    """Sync a directory, so that new files in it survive a power failure; ignore a file system that cannot do this."""
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
