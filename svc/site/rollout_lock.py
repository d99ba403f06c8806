"""The lock in var/rollout.lock: only one rollout at a time changes a site, and no `svc up` runs during a rollout.

Several calls of `svc up` may run at the same time: they start programs one after the other, under a second lock in
var/start.lock, and then wait together until their components are ready.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

from svc.base import file_owner, private_files
from svc.base.errors import CommandError
from svc.base.own_commands import as_user
from svc.config.site import Site

ROLLOUT_LOCK, START_LOCK = "rollout.lock", "start.lock"
PROBE_TIMEOUT_SECONDS = 0.5  # wait for another `svc up`, which locks exclusively for a moment to see if it is alone
POLL_INTERVAL_SECONDS = 0.05


@contextlib.contextmanager
def exclusive(site: Site, command: Sequence[str]) -> Iterator[None]:
    """Hold the lock exclusively, for a rollout. If it is taken, raise CommandError with the command that holds it.

    The kernel releases the lock when the process ends.
    """
    with _open(site) as file:
        _lock(file, fcntl.LOCK_EX)
        _write_holder(file, command)
        try:
            yield
        finally:
            file.truncate(0)


@contextlib.contextmanager
def shared(site: Site, note: Callable[[str], object]) -> Iterator[None]:
    """Share the lock with other calls of `svc up`. If a rollout is running, raise CommandError with its command.

    If another `svc up` is running, call `note` with a line that names it.
    """
    with _open(site) as file:
        is_alone = _try_lock(file, fcntl.LOCK_EX)
        # flock releases a lock before it changes the lock's kind, and another `svc up` may take it in that moment.
        is_alone = _try_lock(file, fcntl.LOCK_SH) and is_alone
        _lock(file, fcntl.LOCK_SH, PROBE_TIMEOUT_SECONDS)
        if not is_alone:
            note(f"another {_holder(site)} is at work on this site; this one goes on when the programs are started")
        try:
            yield
        finally:
            _forget_holder(site)


@contextlib.contextmanager
def starting(site: Site) -> Iterator[None]:
    """Wait for the lock in var/start.lock, and hold it while the block starts or updates programs for `svc up`."""
    with _open(site, START_LOCK) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        _write_holder(file, ["up"])
        yield


def _holder(site: Site) -> str:
    """Return the text in var/start.lock, which names the last `svc up` that started programs."""
    with contextlib.suppress(OSError):
        return (site.var / START_LOCK).read_text().strip() or "`svc up`"
    return "`svc up`"


def _forget_holder(site: Site) -> None:
    """Remove this call's text from var/start.lock, unless another `svc up` has replaced it."""
    if f"(pid {os.getpid()}," in _holder(site):
        with contextlib.suppress(OSError):
            os.truncate(site.var / START_LOCK, 0)


def _write_holder(file: IO[str], command: Sequence[str]) -> None:
    file.truncate(0)
    file.write(f"`svc {' '.join(command)}` (pid {os.getpid()}, since {time.strftime('%H:%M:%S')})")
    file.flush()


def _open(site: Site, name: str = ROLLOUT_LOCK) -> IO[str]:
    path = site.var / name
    try:
        return open(path, "a+", opener=_open_private)
    except OSError as error:
        if path.is_symlink():
            raise CommandError(f"{path}: is a link, and its target would be emptied; remove the link") from None
        owner = file_owner.other_owner(path)
        cure = f"it belongs to {owner}: run `{as_user(owner)}`" if owner else f"make {path.parent} writable"
        raise CommandError(f"{path}: cannot write: {error.strerror}; {cure}") from None


def _open_private(path: str, flags: int) -> int:
    """Open a file that only owner and group may read.

    Raise OSError for a symbolic link, whose target may be any file.
    """
    descriptor = file_owner.open_or_create(Path(path), flags | os.O_NOFOLLOW, private_files.MODE)
    private_files.tighten(descriptor)
    return descriptor


def _lock(file: IO[str], kind: int, timeout: float = 0) -> None:
    """Take the lock. If it is not free within `timeout` seconds, raise CommandError with the command that holds it."""
    deadline = time.monotonic() + timeout
    while not _try_lock(file, kind):
        if time.monotonic() >= deadline:
            file.seek(0)
            command = file.read().strip() or "`svc up`"
            raise CommandError(f"{command} is at work on this site; wait until it is done, or end it with Ctrl-C")
        time.sleep(POLL_INTERVAL_SECONDS)


def _try_lock(file: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
