"""Find the owners of files for error messages, and give the right owners to files that root writes in a site."""

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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


def create(path: Path, flags: int, mode: int) -> int:
    """Create a file and return its descriptor; raise FileExistsError if the file, or a link, exists.

    If root creates the file, it gets the owner of its directory, because the programs of a site run as that user.
    """
    with _opened(path.parent) as directory:
        exclusive = flags | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(path.name, exclusive, mode, dir_fd=directory)
        if os.geteuid() == 0:
            _give(descriptor, os.fstat(directory))
        return descriptor


def open_or_create(path: Path, flags: int, mode: int) -> int:
    """Return the descriptor of a file, which is created as in `create` if it is missing.

    An existing file keeps its owner, because the directory's owner may have replaced it by a link to any file.
    """
    try:
        return create(path, flags, mode)
    except FileExistsError:
        return os.open(path, (flags | os.O_CREAT | os.O_CLOEXEC) & ~os.O_EXCL, mode)


def keep(descriptor: int, path: Path) -> None:
    """If root writes a new version of the file `path`, give it to the owner of the old version.

    `descriptor` is that of the new version. Without an old version, the owner of the directory gets it. If it stayed
    root's, a program that does not run as root could not read it.
    """
    if os.geteuid() == 0:
        _give(descriptor, os.stat(path if path.exists() else path.parent))


def _give(descriptor: int, like: os.stat_result) -> None:
    """Give a file to the owner and the group in `like`, unless that owner is root."""
    if like.st_uid != 0:
        with suppress(PermissionError):  # a container may forbid root to change owners
            os.fchown(descriptor, like.st_uid, like.st_gid)


def make_directories(path: Path, mode: int = 0o777) -> None:
    """Create a directory with `mode`, and its missing parents; each gets the owner of its parent. Raise OSError."""
    if path.is_dir():
        return
    make_directories(path.parent)
    with _opened(path.parent) as parent:
        try:
            os.mkdir(path.name, mode, dir_fd=parent)
        except FileExistsError:  # another process has created it meanwhile, or it is a file
            if not path.is_dir():
                raise
            return
        if os.geteuid() == 0:
            with _opened(path.name, os.O_RDONLY | os.O_NOFOLLOW, parent) as directory:
                if not os.listdir(directory):  # not empty if the parent's owner has moved another directory here
                    _give(directory, os.fstat(parent))


@contextmanager
def _opened(path: Path | str, flags: int = os.O_PATH, parent: int | None = None) -> Iterator[int]:
    """Yield the descriptor of a directory. A path could lead to another directory later; the descriptor cannot."""
    descriptor = os.open(path, flags | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
