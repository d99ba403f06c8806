"""A file with secrets: read again when it changes, while its last good content holds."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from svc.engine_key import unreadable
from svc.errors import ConfigError

log = logging.getLogger(__name__)
OTHERS = 0o007  # mode bits of everybody on the machine
T = TypeVar("T")
Version = tuple[int, ...]


class SecretFile(Generic[T]):
    """`use`: the setting that names the file. `parse` raises ConfigError for content that is wrong.

    A mode that lets everybody read it is a warning and no error: Kubernetes and Docker mount secrets so.
    """

    def __init__(self, path: Path, parse: Callable[[bytes, Path], T], use: str, initial: T) -> None:
        self.path = path
        self.value = initial
        self._parse = parse
        self._use = use
        self._version: Version = ()
        self._complaint = ""

    def load(self) -> T:
        """Read the file and return what it holds; raises ConfigError."""
        try:
            self._read()
        except OSError as error:
            raise unreadable(self.path, error, self._use) from None
        return self.value

    def refresh(self) -> bool:
        """Read the file again if it has changed; return whether its value is a new one.

        A file that is broken or gone is one line in the log.
        """
        try:
            if _version(os.stat(self.path)) == self._version:
                return False
            self._read()
        except OSError as error:
            self._version = ()  # it may come back just as it was
            self._complain(unreadable(self.path, error, self._use))
            return False
        except ConfigError as error:
            self._complain(error)
            return False
        self._complaint = ""
        log.info("%s: read again", self.path)
        return True

    def _read(self) -> None:
        with self.path.open("rb") as file:
            stat, data = os.fstat(file.fileno()), file.read()
        self._version = _version(stat)  # also of a broken file: it is not parsed again before it changes
        self.value = self._parse(data, self.path)
        if stat.st_mode & OTHERS:
            log.warning("%s: everybody on this machine may read it; chmod o= %s", self.path, self.path)

    def _complain(self, error: ConfigError) -> None:
        if error.problems[0] != self._complaint:
            self._complaint = error.problems[0]
            log.error("%s; what it held before stays in use", self._complaint)


def _version(stat: os.stat_result) -> Version:
    return stat.st_mtime_ns, stat.st_size, stat.st_ino, stat.st_mode
