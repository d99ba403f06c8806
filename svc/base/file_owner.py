"""Find the owners of files for error messages, and give files that root creates to the owner of their directory."""

import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def user_name(uid: int) -> str:
    """Return the name of a user; for a user without a name, return `#UID`, the notation of sudo."""
    with suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return f"#{uid}"


def other_owner(path: Path) -> str:
    """Return the owner of a file, or of its nearest visible parent directory; empty if that is the current user."""
    uid = next(_owners(path.absolute()), os.geteuid())
    return "" if uid == os.geteuid() else user_name(uid)


def _owners(path: Path) -> Iterator[int]:
    for candidate in (path, *path.parents):
        with suppress(OSError):
            yield os.stat(candidate).st_uid


def inherit(descriptor: int, directory: Path) -> None:
    """Give a file that root has created in a directory to the owner of the directory.

    The programs of a site run as that user. A file of another user, or one with a second name in another directory, is
    left alone.
    """
    if os.geteuid() != 0:
        return
    with suppress(PermissionError):  # a container may forbid root to change owners
        parent, own = os.stat(directory), os.fstat(descriptor)
        if parent.st_uid != 0 and own.st_uid == 0 and (stat.S_ISDIR(own.st_mode) or own.st_nlink == 1):
            os.fchown(descriptor, parent.st_uid, parent.st_gid)


def make_directories(path: Path, mode: int = 0o777) -> None:
    """Create a directory with `mode`, and its missing parents; each gets the owner of its parent. Raise OSError."""
    if path.is_dir():
        return
    make_directories(path.parent)
    path.mkdir(mode=mode, exist_ok=True)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        inherit(descriptor, path.parent)
    finally:
        os.close(descriptor)
