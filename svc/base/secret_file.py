"""Read files with secrets, once or whenever they change."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from svc.base import procfs
from svc.base.errors import ConfigError

log = logging.getLogger(__name__)
WORLD_BITS = 0o007  # mode bits for users other than the owner and the group
MAKE_FILE = "make the file"
T = TypeVar("T")
Version = tuple[int, ...]


def read(path: Path, parse: Callable[[bytes, Path], T], setting: str) -> T:
    """Return the parsed content of the file at `path`; raise ConfigError.

    `setting` is the name of the setting that holds the path; error messages show it.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error, setting) from None
    return parse(data, path)


def unreadable(path: Path, error: OSError, setting: str, missing_cure: str = MAKE_FILE) -> ConfigError:
    """Return the ConfigError for an unreadable file. `setting` is the name of the setting that holds its path."""
    missing = isinstance(error, FileNotFoundError)
    cure = missing_cure if missing else "check the path and the file's owner and mode"
    return ConfigError(
        f"{path}: cannot read the file that {setting} names: {error.strerror}; {cure}, or correct {setting}"
    )


def is_world_accessible(mode: int) -> bool:
    """Return whether a file mode gives any right to users other than the owner and the group."""
    return bool(mode & WORLD_BITS)


class SecretFile(Generic[T]):
    """A file that is read again when it changes; `value` is its parsed content.

    `setting` is the name of the setting that holds the path. `parse` raises ConfigError for invalid content. While the
    file is invalid or missing, `value` keeps the last valid content. If `keep_last` is false and the file is missing or
    empty, `value` becomes `initial` instead, so that removing the file revokes the secret.

    A file that all users may read is accepted, because Kubernetes and Docker mount secrets with such a mode. It is
    accepted with a warning, unless this process needs that mode to read the file.
    """

    def __init__(
        self,
        path: Path,
        parse: Callable[[bytes, Path], T],
        setting: str,
        initial: T,
        keep_last: bool = True,
        missing_cure: str = MAKE_FILE,
    ) -> None:
        self.path = path
        self.value = initial
        self._initial = initial
        self._parse = parse
        self._setting = setting
        self._keep_last = keep_last
        self._missing_cure = missing_cure
        self._version: Version = ()
        self._last_error = ""
        self._is_empty = False

    def load(self) -> T:
        """Read the file and return its parsed content; raise ConfigError."""
        try:
            self._read()
        except OSError as error:
            raise self._unreadable(error) from None
        return self.value

    def refresh(self) -> bool:
        """Read the file again if it has changed; return whether new content was read.

        An invalid or missing file is logged once and raises nothing.
        """
        try:
            if _version(os.stat(self.path)) == self._version:
                return False
            self._read()
        except OSError as error:
            self._version = ()  # so that the file is read again if it reappears unchanged
            self._fail(self._unreadable(error), is_gone=True)
            return False
        except ConfigError as error:
            self._fail(error, self._is_empty)
            return False
        self._last_error = ""
        log.info("%s: read again", self.path)
        return True

    def _read(self) -> None:
        with self.path.open("rb") as file:
            stat, data = os.fstat(file.fileno()), file.read()
        self._version = _version(stat)  # set even for an invalid file, so that it is not parsed again until it changes
        self._is_empty = not data.strip()
        self.value = self._parse(data, self.path)
        if is_world_accessible(stat.st_mode) and not procfs.credentials(os.getpid()).needs_world_access(stat):
            log.warning("%s: readable by all users; chmod o= %s", self.path, self.path)

    def _unreadable(self, error: OSError) -> ConfigError:
        return unreadable(self.path, error, self._setting, self._missing_cure)

    def _fail(self, error: ConfigError, is_gone: bool) -> None:
        revokes = is_gone and not self._keep_last
        if revokes:
            self.value = self._initial
        if error.problems[0] != self._last_error:
            self._last_error = error.problems[0]
            effect = "until then nothing is admitted by it" if revokes else "its last good content stays in use"
            log.error("%s; %s", self._last_error, effect)


def _version(stat: os.stat_result) -> Version:
    return stat.st_mtime_ns, stat.st_size, stat.st_ino, stat.st_mode
