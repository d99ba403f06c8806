"""The lock in var/rollout.lock: only one rollout at a time changes a site, and `svc up` never runs during one."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from typing import IO

from svc.base import private_files
from svc.base.errors import CommandError
from svc.config.site import Site


@contextlib.contextmanager
def exclusive(site: Site, command: Sequence[str]) -> Iterator[None]:
    """Hold the lock exclusively, for a rollout. Raise CommandError with the command that holds the lock already.

    The kernel releases the lock when the process ends.
    """
    with _open(site) as file:
        _lock(file, fcntl.LOCK_EX)
        file.truncate(0)
        clock = time.strftime("%H:%M:%S")
        file.write(f"`svc {' '.join(command)}` (pid {os.getpid()}, since {clock})")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


@contextlib.contextmanager
def shared(site: Site) -> Iterator[None]:
    """Hold the lock shared with other calls of `svc up`. Raise CommandError with the rollout's command if one runs."""
    with _open(site) as file:
        _lock(file, fcntl.LOCK_SH)
        yield


def _open(site: Site) -> IO[str]:
    path = site.var / "rollout.lock"
    private_files.prepare(path)
    try:
        return path.open("a+")
    except OSError as error:
        raise CommandError(f"{path}: cannot write: {error.strerror}; make {path.parent} writable") from None


def _lock(file: IO[str], kind: int) -> None:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        command = file.read().strip() or "`svc up`"
        raise CommandError(f"{command} is at work on this site; wait until it is done, or end it with Ctrl-C") from None
