"""A bell for the babysitters of a site: one of them touches a file, and the others begin a round at once.

The extension can give an order only as the answer to a report. Without the bell, an instance that has to give way, or
that may start, would get its order only after its next regular report. The kernel's inotify reports the touch, so
waiting for it costs nothing. If inotify does not work, there are only the regular rounds.
"""

import contextlib
import ctypes
import logging
import os
import select
from collections.abc import Callable
from pathlib import Path

from svc.base import private_files

log = logging.getLogger(__name__)
FILE_NAME = "on_demand.bell"
IN_ATTRIB = 0x4  # inotify's event for a changed time of modification
EVENT_BYTES = 4096
WAIT_SECONDS = 30.0  # after this time, the watch of the file begins anew, in case the file was replaced
PAUSE_SECONDS = 0.05  # between two reactions


class Bell:
    """`ring` touches the file at `path`. `wait` waits until any process touches it, then calls `rung`."""

    def __init__(self, path: Path, rung: Callable[[], object]) -> None:
        self._path = path
        self._rung = rung
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = -1

    def ring(self) -> None:
        """Have all babysitters of the site begin a round at once."""
        with contextlib.suppress(OSError):
            os.utime(self._path)

    def wait(self) -> float:
        """Wait for a touch, for WAIT_SECONDS at most; return the seconds until the next call."""
        try:
            self._watch()
        except (OSError, AttributeError) as error:  # AttributeError: a libc without inotify
            log.debug("no bell: %s", error)
            return WAIT_SECONDS
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        if poll.poll(WAIT_SECONDS * 1000):
            os.read(self._descriptor, EVENT_BYTES)
            self._rung()
        return PAUSE_SECONDS

    def _watch(self) -> None:
        """Watch the file, which is created if needed; do nothing if it is watched already."""
        if self._descriptor < 0:
            self._descriptor = self._checked(self._libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))
        if not self._path.exists():
            private_files.make_directory(self._path.parent)
            private_files.prepare(self._path)
        self._checked(self._libc.inotify_add_watch(self._descriptor, os.fsencode(self._path), IN_ATTRIB))

    def _checked(self, result: int) -> int:
        if result < 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))
        return result
