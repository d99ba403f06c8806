"""Find the owners of files, for error messages to users who may not read or write these files."""

import os
import pwd
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
