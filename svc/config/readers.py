"""What the readers of configuration files share: decoding TOML, quoting a value, refusing text. Pure."""

import sys
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MAX_QUOTED_CHARACTERS = 60


def parse_toml(data: bytes) -> dict[str, Any]:
    """Return the tables of a TOML file; raise ValueError with what is wrong and what to do."""
    try:
        return tomllib.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ValueError(f"line {line} is not UTF-8; save the file as UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not TOML: {error}; correct that line") from None


def quoted(value: Any) -> str:
    """Return a value as its file has it, shortened for a message."""
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value) if hasattr(value, "isoformat") else repr(value)  # a date or a time
    return text if len(text) <= MAX_QUOTED_CHARACTERS else text[: MAX_QUOTED_CHARACTERS - 3] + "..."


def why_unusable(text: str) -> str:
    """Return why neither an argument nor supervisord's files can hold a text; empty if both can."""
    if "\0" in text:
        return "has a NUL character, which no argument or variable can hold; leave it out"
    if "\r" in text:
        return "has a carriage return, which supervisord's files cannot hold; leave it out"
    return ""
