"""Write a file whole or not at all: beside its place first, then in its place."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

OnOpen = Callable[[int], object]  # gets the descriptor of the new file, before anything is written


def _ignore(descriptor: int) -> None:
    """Do nothing with a new file."""


def write(path: Path, data: bytes, mode: int, durable: bool = True, on_open: OnOpen = _ignore) -> None:
    """Replace the content of `path`; raise OSError and leave the file as it was where that fails.

    `durable`: the new content survives a power cut after this call.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")  # two processes may write the same file
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
    """Write a new file, which `os.replace` then puts in its place; raise OSError."""
    temporary.unlink(missing_ok=True)  # left by a process that was killed
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with open(os.open(temporary, flags, mode), "wb") as file:
        on_open(file.fileno())
        file.write(data)
        file.flush()
        if durable:
            os.fsync(file.fileno())


def sync_directory(directory: Path) -> None:
    """Let new names in a directory survive a power cut; do nothing where the file system has no such call."""
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
