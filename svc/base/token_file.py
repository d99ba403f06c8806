"""Files with tokens of the registry: one token, or several with names.

A file of one line is one token. A file of several lines is TOML with the table `[tokens]`:

    [tokens]
    fleet = "TOKEN"
    alice = "TOKEN"

The two forms cannot be confused: a token is sent in an HTTP header, so it contains no line break. A registry accepts
every token of its file. A program that sends a token sends the first one of its file.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from svc.base.errors import ConfigError
from svc.base.text_patterns import CREDENTIAL_NAME
from svc.base.toml import parse_toml

TABLE = "tokens"
TABLE_LINE = f"[{TABLE}]"
UNNAMED = "operator"  # the name of the token in a file of one line
NAME = re.compile(CREDENTIAL_NAME[0])
WORD_PATTERN = re.compile(r"[!-~]+")  # printable ASCII characters without blanks
FORM = f'write one token on one line, or {TABLE_LINE} on a line and below it a line NAME = "TOKEN" for each'


class NamedToken(NamedTuple):
    name: str
    token: bytes


def parse_tokens(data: bytes, path: Path) -> tuple[NamedToken, ...]:
    """Return the tokens in `data`, the content of `path`; raise ConfigError, whose message quotes no token.

    A token that is alone on one line may have any bytes: a registry compares it with the bytes of a header.
    """
    text = data.strip()
    if not text:
        raise ConfigError(f"{path}: the token file is empty; write the token into it")
    if not is_table(text):
        return (NamedToken(UNNAMED, text),)
    try:
        entries = parse_toml(text)
    except ValueError as error:
        line = re.search(r"line \d+", str(error))  # the rest of the message may quote a token
        raise ConfigError(f"{path}: not a token file{f', {line[0]}' if line else ''}: {FORM}") from None
    if set(entries) != {TABLE} or not isinstance(entries[TABLE], dict) or not entries[TABLE]:
        raise ConfigError(f"{path}: not a token file: {FORM}")
    if problems := list(_problems(entries[TABLE])):
        raise ConfigError(*(f"{path}: {problem}" for problem in problems))
    return tuple(NamedToken(name, token.encode()) for name, token in entries[TABLE].items())


def is_table(data: bytes) -> bool:
    """Return whether the content of a token file is in the form for several tokens."""
    text = data.strip()
    return len(text.splitlines()) > 1 or text.startswith(TABLE_LINE.encode())


def first_token(path: Path) -> str:
    """Return the token that a program with this file sends; raise OSError, or ConfigError if the file is invalid."""
    token = parse_tokens(path.read_bytes(), path)[0].token.decode("utf-8", "replace")
    if not token.isascii() or not token.isprintable():  # an HTTP header cannot contain it
        raise ConfigError(f"{path}: not a token: use one line of ASCII characters, as in the registry's file")
    return token


def _problems(tokens: dict[str, object]) -> Iterator[str]:
    """Yield the problems of the table's entries. No invalid name is quoted, because it may be a token."""
    names: dict[object, str] = {}
    for number, (name, token) in enumerate(tokens.items(), 1):
        if not NAME.fullmatch(name):
            yield f"{TABLE}: the name of entry {number} must begin with {CREDENTIAL_NAME[1]}; rename it"
        elif not isinstance(token, str) or not WORD_PATTERN.fullmatch(token):
            yield f'{TABLE}.{name}: must be one word of ASCII characters in quotes; write {name} = "TOKEN"'
        elif (other := names.setdefault(token, name)) != name:
            yield f"{TABLE}.{name}: the same token as {other}; give each name a token of its own"
