"""The file of API keys: their names, their limits and the digests of their secrets, but never a secret.

The file has one table for each key. `svc keys` rewrites the whole file, and the router reads it:

    [keys.ci]
    sha256 = "..."                    # SHA-256 of the secret, in hex
    created = 2026-01-02T03:04:05Z
    requests_per_minute = 60          # optional, as are all that follow
    concurrency = 4
    tokens_per_minute = 100_000
    tokens_per_day = 5_000_000
    share = 2.0                       # the key's weight when requests wait for an instance
    priority = -1                     # among requests that wait, a higher one goes first
    models = ["qwen*"]                # other models do not exist for the key
    expires = 2027-01-01T00:00:00Z
    front = true                      # its requests may name the user for whom they are sent
    operator = true                   # may send management requests: any path
    note = "the nightly build"
"""

import contextlib
import datetime
import fcntl
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from svc.base import file_owner, private_files
from svc.base.errors import CommandError, ConfigError
from svc.base.toml import parse_toml
from svc.config.router_key_entry import FIELDS, NAME, NAME_RULE, READERS, REQUIRED, KeyEntry

CREATE_HINT = "make it with `svc keys add NAME`"
BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")  # a key that TOML accepts without quotes
LOST = (
    "{path}: the file of keys is gone; with a new one, the router would refuse all keys that were in it; "
    "copy the file back, or remove {lock} to begin a new one"
)
WRITTEN = b"The file of keys was written.\n"  # the content of the lock file after the first file of keys was written
HEADER = "# API keys of the router; `svc keys` writes this file whole and keeps no comments.\n[keys]\n"


def digest(secret: str) -> str:
    """Return the digest of a secret in the form that the file contains."""
    return hashlib.sha256(secret.encode()).hexdigest()


# Reading.


def read(path: Path) -> dict[str, KeyEntry]:
    """Return a dict from each key name in a file to its entry; raise ConfigError with every problem."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None
    return parse(data, path)


def _unreadable(path: Path, error: OSError) -> ConfigError:
    cure = CREATE_HINT if isinstance(error, FileNotFoundError) else "check the path and its owner"
    return ConfigError(f"{path}: cannot read the keys: {error.strerror}; {cure}")


def parse(data: bytes, path: Path) -> dict[str, KeyEntry]:
    """Return the keys in `data`, the content of the file `path`; raise ConfigError with every problem.

    A file without [keys] is refused, because it may not have been written completely.
    """
    try:
        document = parse_toml(data)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
    problems = [f"{path}: {_toml_key(key)}: unknown key; there is only [keys]" for key in document if key != "keys"]
    tables = document.get("keys")
    if not isinstance(tables, dict):
        raise ConfigError(*problems, f"{path}: keys: missing or no section; write [keys], and [keys.NAME] for each key")
    entries = {name: _entry(table, path, f"keys.{_toml_key(name)}", problems) for name, table in tables.items()}
    problems += [f"{path}: keys.{_toml_key(name)}: no name; {NAME_RULE}" for name in tables if not NAME.fullmatch(name)]
    complete = {name: entry for name, entry in entries.items() if entry is not None}
    problems += [
        f"{path}: keys.{_toml_key(name)}.sha256: the same as that of {other}; remove one of the two"
        for name, other in _duplicates(complete)
    ]
    if problems:
        raise ConfigError(*problems)
    return complete


def _duplicates(entries: Mapping[str, KeyEntry]) -> Iterator[tuple[str, str]]:
    """Yield the names of both keys, for each key that has the same secret as an earlier key."""
    first_names: dict[str, str] = {}
    for name, entry in entries.items():
        if (other := first_names.setdefault(entry.sha256, name)) != name:
            yield name, other


def _entry(table: Any, path: Path, where: str, problems: list[str]) -> KeyEntry | None:
    if not isinstance(table, dict):  # the value may be a secret, so the message does not show it
        problems.append(f"{path}: {where}: must be a section; write [{where}]")
        return None
    wrong = [f"{key}: missing; make the key anew with `svc keys add`" for key in REQUIRED if key not in table]
    values = {}
    for key, value in table.items():
        try:
            values[key] = _reader_of(key, value)(value)
        except ValueError as error:
            wrong.append(f"{_toml_key(key)}: {error}")
    problems += [f"{path}: {where}.{problem}" for problem in wrong]
    return None if wrong else KeyEntry(**values)


def _reader_of(key: str, value: Any) -> Callable[[Any], Any]:
    if key in READERS:
        return READERS[key]
    if isinstance(value, dict):
        raise ValueError('unknown section; a name with a dot stands in quotes, [keys."NAME"]')
    raise ValueError(f"unknown key; there are {', '.join(READERS)}")


# Writing.


def render(entries: Mapping[str, KeyEntry]) -> str:
    """Return the text of a file with these entries; `parse` turns this text back into the same entries."""
    return "\n".join([HEADER, *(_table(name, entry) for name, entry in sorted(entries.items()))])


def _table(name: str, entry: KeyEntry) -> str:
    values = [(field, getattr(entry, field.name)) for field in FIELDS]
    lines = [f"{field.name} = {_toml_value(value)}\n" for field, value in values if value != field.default]
    return f"[keys.{_toml_key(name)}]\n{''.join(lines)}"


def _toml_value(value: Any) -> str:
    if isinstance(value, datetime.datetime):
        return _toml_time(value)
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml_string, value))}]"
    return json.dumps(value, ensure_ascii=False)  # numbers, texts, true and false are alike in JSON and TOML


def _toml_time(time: datetime.datetime) -> str:
    return time.astimezone(datetime.timezone.utc).replace(tzinfo=None).isoformat() + "Z"


def _toml_key(key: str) -> str:
    """Return a TOML key on one line, quoted if necessary."""
    return key if BARE_KEY.fullmatch(key) else _toml_string(key)


def _toml_string(text: str) -> str:
    """Return a text as a TOML string. A JSON string without control characters is a valid TOML string."""
    return json.dumps(text, ensure_ascii=False)


@contextlib.contextmanager
def editing(path: Path) -> Iterator[dict[str, KeyEntry]]:
    """Yield the keys, which the caller changes in place; write them when the block ends without an error.

    The file is locked during the block, so a second process waits and then reads what the first process has written.
    Raise ConfigError for an invalid file, and CommandError if the file cannot be written. Also raise CommandError if
    the file is missing although one was written before: a new file would revoke all keys of the old one.
    """
    path = Path(os.path.realpath(path))  # replace the target of a symbolic link, not the link
    with contextlib.ExitStack() as stack:
        with _write_errors(path):
            lock = stack.enter_context(_locked(path))
        if not (is_there := path.exists()) and os.fstat(lock).st_size:
            raise CommandError(LOST.format(path=path, lock=_lock_path(path)))
        entries = read(path) if is_there else {}
        yield entries
        with _write_errors(path):
            private_files.write(path, render(entries).encode(), private_files.OWNER_ONLY)
            os.pwrite(lock, WRITTEN, 0)


@contextlib.contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    """Raise CommandError with the cure, instead of an OSError, if the block cannot write the file of keys."""
    try:
        yield
    except OSError as error:
        raise CommandError(
            f"{path}: cannot write the keys: {error.strerror}; nothing was changed; "
            f"make sure that {path.parent} is there and yours"
        ) from None


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Lock a file beside the file of keys, and yield its descriptor.

    The file of keys itself cannot be locked, because each write replaces it. The lock file is empty until the first
    file of keys was written.
    """
    descriptor = file_owner.open_or_create(_lock_path(path), os.O_RDWR | os.O_NOFOLLOW, private_files.OWNER_ONLY)
    try:
        private_files.tighten(descriptor, private_files.OWNER_ONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _lock_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def is_unapplied(configured: str, used: str) -> bool:
    """Return whether the settings have a file of API keys that a router does not use.

    `configured` is the file in the settings, and `used` the router's file; "" means that there is none.
    """
    return bool(configured) and not (used and os.path.realpath(configured) == os.path.realpath(used))
