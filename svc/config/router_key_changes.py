"""Add and revoke API keys of the router; `router_keys` reads and writes the file of keys."""

import datetime
import secrets
from pathlib import Path

from svc.base.errors import CommandError
from svc.base.similar_names import did_you_mean
from svc.config import router_keys
from svc.config.router_keys import KeyEntry

SECRET_PREFIX = "svc-"
SECRET_BYTES = 32


def add_key(
    path: Path, name: str, requests_per_minute: int | None, concurrency: int | None, operator: bool, note: str
) -> str:
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
        entries[name] = KeyEntry(router_keys.digest(secret), now, requests_per_minute, concurrency, operator, note)
    return secret


def discard_key(path: Path, name: str) -> None:
    """Remove a key from the file; do nothing if the file does not contain the key."""
    with router_keys.editing(path) as entries:
        entries.pop(name, None)


def revoke_key(path: Path, name: str) -> None:
    """Remove a key from the file; raise CommandError if there is no such file or key."""
    if not path.exists():
        raise CommandError(f"{path}: there is no such file, so no key {name!r}; give the file with --file")
    with router_keys.editing(path) as entries:
        if name not in entries:
            cure = did_you_mean(name, entries, "`svc keys list` shows those there are")
            raise CommandError(f"{path}: there is no key {name!r}; {cure}")
        del entries[name]
