"""Find the owners of files for error messages, and give the right owners to files that root writes in a site."""

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
    parent, own = os.stat(directory), os.fstat(descriptor)
    if own.st_uid == 0 and (stat.S_ISDIR(own.st_mode) or own.st_nlink == 1):
        _give(descriptor, parent)


def keep(descriptor: int, path: Path) -> None:
    """Give the new version of a file, which root has written, to the owner of the current version at `path`.

    If there is no current version, give it to the owner of the directory. The program that reads the file may not run
    as root.
    """
    if os.geteuid() == 0:
        _give(descriptor, os.stat(path if path.exists() else path.parent))


def _give(descriptor: int, like: os.stat_result) -> None:
    """Give a file to the owner and the group of another one; leave it to root if the other one is root's."""
    if like.st_uid != 0:
        with suppress(PermissionError):  # a container may forbid root to change owners
            os.fchown(descriptor, like.st_uid, like.st_gid)


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
