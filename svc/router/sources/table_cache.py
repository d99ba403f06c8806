"""The last good table, saved on disk, with which the router can start while no registry answers."""

import logging
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from svc.base import private_files
from svc.router.balance.target import Target
from svc.router.state import RouterState

log = logging.getLogger(__name__)
FORMAT = "svc router table 1"
FORMAT_PREFIX = b'{"format":"svc router table'
# Fields of a target that are computed from other fields, or come from upstream_keys_file: a table's file has no secret.
FIELDS_NOT_SAVED = ("authority", "address", "limit", "key", "hides_credentials", "authorization")


class CachedTable(msgspec.Struct, frozen=True):
    """A table, the registry that listed it, and its age in seconds."""

    registry: str
    index: int | None
    targets: list[Target]
    age: float = 0.0


class TableFile:
    """A file with one table. Its modification time says when a registry last reported the table as current."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._clock = clock
        self._is_table = True  # whether the file contains a table or does not exist, so that it may be overwritten
        self._failing = False

    def load(self, registries: Sequence[str]) -> CachedTable | None:
        """Return the table if one of these registries listed it. For any other file, log a warning and return None."""
        try:
            data = self.path.read_bytes()
            age = max(0.0, self._clock() - self.path.stat().st_mtime)
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("%s: cannot read the saved table: %s", self.path, error.strerror)
            return None
        if data and not data.startswith(FORMAT_PREFIX):
            self._is_table = False
            log.warning("%s: not a router's table: neither read nor written; give another --state-file", self.path)
            return None
        try:
            fields = msgspec.json.decode(data)
            table = msgspec.convert({**fields, "age": age} if fields["format"] == FORMAT else None, CachedTable)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            log.warning("%s: the saved table is damaged, starting without: %s", self.path, error)
            return None
        if table.registry not in registries:
            log.warning("%s: the saved table is from %s, starting without", self.path, table.registry)
            return None
        return table

    def store(self, table: CachedTable) -> None:
        """Write the table whole or not at all; of several failures in a row, log only the first.

        The file is not synced to disk, so it may be lost if the machine crashes soon after.
        """
        if not self._is_table:
            return
        fields = {"format": FORMAT, "registry": table.registry, "index": table.index}
        try:
            private_files.make_directory(self.path.parent)
            content = msgspec.json.encode({**fields, "targets": [_saved_fields(target) for target in table.targets]})
            private_files.write(self.path, content, durable=False)
        except OSError as error:
            if not self._failing:
                log.warning("%s: cannot save the table: %s", self.path, error.strerror)
            self._failing = True
        else:
            self._failing = False

    def touch(self, age: float) -> None:
        """Set the modification time of the file: a registry confirmed the table `age` seconds ago."""
        confirmed_at = self._clock() - age
        if self._is_table:
            with suppress(OSError):
                os.utime(self.path, (confirmed_at, confirmed_at))


class TableCache:
    """The job that saves the table when the table has changed. Call `run_round` every second."""

    def __init__(self, state: RouterState, file: TableFile | None) -> None:
        self._state = state
        self._file = file
        self._confirmed_at: float | None = None
        self._last: CachedTable | None = None

    def run_round(self) -> None:
        origin = self._state.origin
        if self._file is None or origin is None or origin.source != "registry":
            return
        if self._state.keeps_unlisted:
            return  # the older table stays: by it, a restarted router notices that the registry lost its data
        if origin.confirmed_at in (None, self._confirmed_at):
            return
        targets = [target for target in self._state.balancer.table.targets if not target.static]
        table = CachedTable(origin.registry, origin.index, targets)
        if table != self._last:
            self._file.store(table)
        self._file.touch(self._state.clock() - (origin.confirmed_at or 0.0))
        self._confirmed_at, self._last = origin.confirmed_at, table


def _saved_fields(target: Target) -> dict[str, Any]:
    return {key: value for key, value in msgspec.to_builtins(target).items() if key not in FIELDS_NOT_SAVED}
