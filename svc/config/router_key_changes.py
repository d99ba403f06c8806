"""Add, change and revoke API keys of the router; `router_keys` reads and writes the file of keys."""

import contextlib
import dataclasses
import datetime
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from svc.base.errors import CommandError
from svc.base.similar_names import did_you_mean
from svc.config import router_keys
from svc.config.router_key_entry import KeyEntry

SECRET_PREFIX = "svc-"
SECRET_BYTES = 32


KeyChanges = dict[str, Any]  # field of a key -> its new value; None removes a limit or the time of expiry


def add_key(path: Path, name: str, changes: KeyChanges) -> str:
    """Add a key to the file and return its secret. The file contains only the digest of the secret.

    Raise CommandError if the file already contains a key with this name.
    """
    secret = SECRET_PREFIX + secrets.token_urlsafe(SECRET_BYTES)
    now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
    with router_keys.editing(path) as entries:
        if name in entries:
            raise CommandError(
                f"{path}: there is a key {name!r} already; choose another name, or first `svc keys revoke {name}`"
            )
        entries[name] = KeyEntry(router_keys.digest(secret), now, **changes)
    return secret


def discard_key(path: Path, name: str) -> None:
    """Remove a key from the file; do nothing if the file does not contain the key."""
    with router_keys.editing(path) as entries:
        entries.pop(name, None)


def change_key(path: Path, name: str, changes: KeyChanges) -> tuple[KeyEntry, KeyEntry]:
    """Change fields of a key; return the key before and after. Raise CommandError if there is no such file or key."""
    with _editing_key(path, name) as entries:
        before = entries[name]
        entries[name] = dataclasses.replace(before, **changes)
        return before, entries[name]


def revoke_key(path: Path, name: str) -> None:
    """Remove a key from the file; raise CommandError if there is no such file or key."""
    with _editing_key(path, name) as entries:
        del entries[name]


def find_key(path: Path, name: str) -> KeyEntry:
    """Return a key of the file; raise CommandError if there is no such file or key."""
    _require_file(path, name)
    entries = router_keys.read(path)
    _require_key(path, name, entries)
    return entries[name]


@contextlib.contextmanager
def _editing_key(path: Path, name: str) -> Iterator[dict[str, KeyEntry]]:
    _require_file(path, name)
    with router_keys.editing(path) as entries:
        _require_key(path, name, entries)
        yield entries


def _require_file(path: Path, name: str) -> None:
    if not path.exists():
        raise CommandError(f"{path}: there is no such file, so no key {name!r}; give the file with --file")


def _require_key(path: Path, name: str, entries: Mapping[str, KeyEntry]) -> None:
    if name not in entries:
        cure = did_you_mean(name, entries, "`svc keys list` shows those there are")
        raise CommandError(f"{path}: there is no key {name!r}; {cure}")
