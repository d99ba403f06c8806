"""The last good table on disk, for a start while no registry answers."""

import logging
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from svc.base import private_files
from svc.router.balance.table import Target
from svc.router.state import RouterState

log = logging.getLogger(__name__)
FORMAT = "svc router table 1"
BEGINNING = b'{"format":"svc router table'
# Fields of a target that come of its others, or of upstream_keys_file: a secret is not written here.
NOT_SAVED = ("authority", "address", "limit", "key", "hides_credentials", "authorization")


class CachedTable(msgspec.Struct, frozen=True):
    """A table, and the registry that told it; `age` is in seconds."""

    registry: str
    index: int | None
    targets: list[Target]
    age: float = 0.0


class TableFile:
    """Holds one table. Its time of modification says when a registry last said that it is so."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._clock = clock
        self._ours = True  # to be written over
        self._complained = False

    def load(self, registries: Sequence[str]) -> CachedTable | None:
        """What is in it, if one of these registries told it; whatever else is in it is one warning."""
        try:
            data = self.path.read_bytes()
            age = max(0.0, self._clock() - self.path.stat().st_mtime)
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("%s: cannot read the saved table: %s", self.path, error.strerror)
            return None
        if data and not data.startswith(BEGINNING):
            self._ours = False
            log.warning("%s: not a router's table: neither read nor written; give another --state-file", self.path)
            return None
        try:
            told = msgspec.json.decode(data)
            saved = msgspec.convert({**told, "age": age} if told["format"] == FORMAT else None, CachedTable)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            log.warning("%s: the saved table is damaged, starting without: %s", self.path, error)
            return None
        if saved.registry not in registries:
            log.warning("%s: the saved table is from %s, starting without", self.path, saved.registry)
            return None
        return saved

    def store(self, saved: CachedTable) -> None:
        """Whole or not at all; a failure is logged when it begins. It may be lost if the machine dies at once."""
        if not self._ours:
            return
        told = {"format": FORMAT, "registry": saved.registry, "index": saved.index}
        try:
            private_files.make_directory(self.path.parent)
            table = msgspec.json.encode({**told, "targets": [_plain(t) for t in saved.targets]})
            private_files.write(self.path, table, durable=False)
        except OSError as error:
            if not self._complained:
                log.warning("%s: cannot save the table: %s", self.path, error.strerror)
            self._complained = True
        else:
            self._complained = False

    def touch(self, age: float) -> None:
        """What is in it was so `age` seconds ago."""
        seen = self._clock() - age
        if self._ours:
            with suppress(OSError):
                os.utime(self.path, (seen, seen))


class TableCache:
    """Saves the table when it has changed; call `once` now and then."""

    def __init__(self, state: RouterState, file: TableFile | None) -> None:
        self._state = state
        self._file = file
        self._seen: float | None = None
        self._last: CachedTable | None = None

    def once(self) -> None:
        origin = self._state.origin
        if self._file is None or origin is None or origin.source != "registry" or origin.seen in (None, self._seen):
            return
        targets = [t for t in self._state.table.targets if not t.static]
        saved = CachedTable(origin.registry, origin.index, targets)
        if saved != self._last:
            self._file.store(saved)
        self._file.touch(self._state.clock() - (origin.seen or 0.0))
        self._seen, self._last = origin.seen, saved


def _plain(target: Target) -> dict[str, Any]:
    return {key: value for key, value in msgspec.structs.asdict(target).items() if key not in NOT_SAVED}
