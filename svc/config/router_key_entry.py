"""One API key as the file of keys has it: its fields, and the rules for their values."""

import dataclasses
import datetime
import re
import unicodedata
from collections.abc import Callable
from typing import Any

from svc.base.text_patterns import CREDENTIAL_NAME
from svc.config.readers import quoted

NAME = re.compile(CREDENTIAL_NAME[0])
NAME_RULE = f"begin with {CREDENTIAL_NAME[1]}"
MAX_NOTE_CHARACTERS = 200
CATEGORIES_NOT_IN_NOTES = ("Cc", "Cs", "Zl", "Zp")  # control characters, surrogates, line and paragraph separators
SHA256 = re.compile(r"[0-9a-fA-F]{64}")
MIN_SHARE, MAX_SHARE = 0.001, 1000.0
MAX_PRIORITY = 100
MAX_LIMIT = 10**15  # token buckets compute with floats, in which larger whole numbers are not exact


def _sha256(value: Any) -> str:
    if not isinstance(value, str) or not SHA256.fullmatch(value):
        raise ValueError("must be 64 hexadecimal digits in quotes; make the key anew with `svc keys add`")
    return value.lower()


def _time(value: Any) -> datetime.datetime:
    if not isinstance(value, datetime.datetime) or value.tzinfo is None:
        raise ValueError(f"must be a time with its offset, unquoted, such as 2026-01-02T03:04:05Z, not {quoted(value)}")
    return utc(value)


def utc(time: datetime.datetime) -> datetime.datetime:
    """Return a time with an offset as UTC; raise ValueError if that is not within the years 1 to 9999."""
    try:
        return time.astimezone(datetime.timezone.utc)
    except OverflowError:
        raise ValueError(f"must be within the years 1 to 9999 in UTC, not {quoted(time)}") from None


def _positive_number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"must be a whole number from 1 on, not {quoted(value)}; leave it out for no limit")
    if value > MAX_LIMIT:
        raise ValueError(f"must be at most {MAX_LIMIT}; leave it out for no limit")
    return value


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {quoted(value)}")
    return value


def _share(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not MIN_SHARE <= value <= MAX_SHARE:
        raise ValueError(f"must be a number from {MIN_SHARE:g} to {MAX_SHARE:g}, not {quoted(value)}")
    return float(value)


def _priority(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > MAX_PRIORITY:
        raise ValueError(f"must be a whole number from -{MAX_PRIORITY} to {MAX_PRIORITY}, not {quoted(value)}")
    return value


def check_models(value: Any) -> tuple[str, ...]:
    """Return patterns of model names as a tuple; raise ValueError if they are not a list of such patterns."""
    if not isinstance(value, list | tuple) or not value:
        raise ValueError(f'must be a list of patterns, such as ["qwen*"], not {quoted(value)}; leave it out for all')
    for pattern in value:
        if not isinstance(pattern, str) or not pattern or not pattern.isprintable():
            raise ValueError(f"{quoted(pattern)} is no pattern; give the name of a model, where * is any text")
    return tuple(value)


def check_name(value: str) -> str:
    """Return the name of a key unchanged; raise ValueError if it is invalid."""
    if not NAME.fullmatch(value):
        raise ValueError(f"{quoted(value)} is no name; {NAME_RULE}")
    return value


def check_note(value: Any) -> str:
    """Return a note unchanged; raise ValueError if it is not one line of text."""
    if not isinstance(value, str) or any(unicodedata.category(letter) in CATEGORIES_NOT_IN_NOTES for letter in value):
        raise ValueError(f"must be one line of text, not {quoted(value)}")
    if len(value) > MAX_NOTE_CHARACTERS:
        raise ValueError(f"has {len(value)} characters; use at most {MAX_NOTE_CHARACTERS}")
    return value


def _field(read: Callable[[Any], Any], heading: str, is_always_shown: bool = False, **default: Any) -> Any:
    """Return a field of a key.

    `read` turns the TOML value into the field's value, or raises ValueError. `heading` is the heading of the field's
    column in `svc keys list`. The column is shown if any key sets the field, or if `is_always_shown`.
    """
    return dataclasses.field(metadata={"read": read, "heading": heading, "is_always_shown": is_always_shown}, **default)


@dataclasses.dataclass(frozen=True, slots=True)
class KeyEntry:
    """One API key, without its secret. No other code lists the fields. A limit of None means unlimited."""

    sha256: str = _field(_sha256, "SHA-256", True)
    created: datetime.datetime = _field(_time, "CREATED", True)
    requests_per_minute: int | None = _field(_positive_number, "PER MINUTE", True, default=None)
    concurrency: int | None = _field(_positive_number, "AT ONCE", True, default=None)
    tokens_per_minute: int | None = _field(_positive_number, "TOKENS/MIN", default=None)
    tokens_per_day: int | None = _field(_positive_number, "TOKENS/DAY", default=None)
    share: float = _field(_share, "SHARE", default=1.0)  # the key's weight where requests wait
    priority: int = _field(_priority, "PRIORITY", default=0)  # of the key's waiting requests; higher goes first
    models: tuple[str, ...] = _field(check_models, "MODELS", default=())  # patterns of its models; empty: all
    expires: datetime.datetime | None = _field(_time, "EXPIRES", default=None)
    front: bool = _field(_boolean, "FRONT", default=False)  # whether its requests may name the user who sends them
    operator: bool = _field(_boolean, "OPERATOR", True, default=False)
    note: str = _field(check_note, "NOTE", True, default="")


FIELDS = dataclasses.fields(KeyEntry)  # in the order of the file
READERS: dict[str, Callable[[Any], Any]] = {field.name: field.metadata["read"] for field in FIELDS}
REQUIRED = tuple(field.name for field in FIELDS if field.default is dataclasses.MISSING)
LIMITS = tuple(name for name, read in READERS.items() if read is _positive_number)
