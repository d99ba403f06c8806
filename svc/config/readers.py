"""Readers of configuration values, from which the readers of each kind of file are built. Pure.

A reader takes a value as the TOML parser returns it. It returns the checked value, or raises ValueError with the
message "what is wrong; what to do". Types are exact: true is not a number, and 1.0 is not a whole number.
"""

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

Reader = Callable[[Any], Any]
PLACEHOLDER = re.compile(r"<fill in: (.+)>", re.DOTALL)
MAX_QUOTED_CHARACTERS = 60


def quoted(value: Any) -> str:
    """Return a value as it would be written in its file, shortened for a message."""
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value) if hasattr(value, "isoformat") else repr(value)  # only dates and times have isoformat
    return text if len(text) <= MAX_QUOTED_CHARACTERS else text[: MAX_QUOTED_CHARACTERS - 3] + "..."


def why_unusable(text: str) -> str:
    """Return the reason why `text` cannot be in an argument or in supervisord's files; "" if it can be in both."""
    if "\0" in text:
        return "has a NUL character, which no argument or variable can hold; leave it out"
    if "\r" in text:
        return "has a carriage return, which supervisord's files cannot hold; leave it out"
    return ""


class MultipleErrors(ValueError):
    """Several errors inside one value. Each problem is a pair: the suffix to append to the key, and the message."""

    def __init__(self, problems: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(message for _, message in problems))
        self.problems = problems


def text(value: Any) -> str:
    """Read any text that can be in arguments and in supervisord's files."""
    if not isinstance(value, str):
        raise ValueError(f"must be text, not {quoted(value)}; put it in quotes")
    if blank := PLACEHOLDER.fullmatch(value):
        raise ValueError(f"not filled in yet; fill in {blank[1]}")
    if reason := why_unusable(value):
        raise ValueError(reason)
    return value


def nonempty_text(value: Any) -> str:
    """Read text that is not blank."""
    if not text(value).strip():
        raise ValueError("must not be empty; give it a value or leave the key out")
    return value


def boolean(value: Any) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {quoted(value)}; choose one")
    return value


def whole_number(minimum: int, maximum: int) -> Reader:
    """Return a reader of whole numbers from `minimum` to `maximum`."""

    def read(value: Any) -> int:
        if type(value) is not int:
            raise ValueError(f"must be a whole number, not {quoted(value)}; write it without quotes or a point")
        if not minimum <= value <= maximum:
            raise ValueError(f"must be between {minimum} and {maximum}, not {quoted(value)}; change it")
        return value

    return read


def number(minimum: float, maximum: float) -> Reader:
    """Return a reader of numbers from `minimum` to `maximum`."""

    def read(value: Any) -> float:
        if type(value) not in (int, float) or value != value:
            raise ValueError(f"must be a number, not {quoted(value)}; write seconds, without quotes")
        if not minimum <= value <= maximum:
            raise ValueError(f"must be between {minimum:g} and {maximum:g}, not {quoted(value)}; change it")
        return value

    return read


def choice(*choices: str) -> Reader:
    """Return a reader that accepts only these texts."""

    def read(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"must be {' or '.join(map(json.dumps, choices))}, not {quoted(value)}; choose one")
        return str(value)

    return read


def list_of(read: Reader) -> Reader:
    """Return a reader of lists that applies `read` to each item."""

    def read_all(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise ValueError(f"must be a list, not {quoted(value)}; put it in [ ]")
        return tuple(read_each(read, ((f"[{n}]", item) for n, item in enumerate(value))))

    return read_all


def read_each(read: Reader, pairs: Iterable[tuple[str, Any]]) -> list[Any]:
    """Return the values that `read` returns for the items in `pairs`; raise MultipleErrors with every problem.

    Each pair consists of the key suffix for error messages, such as `[0]` or `.NAME`, and the item itself.
    """
    values, problems = [], []
    for suffix, value in pairs:
        try:
            values.append(read(value))
        except ValueError as error:
            problems.append((suffix, str(error)))
    if problems:
        raise MultipleErrors(problems)
    return values
