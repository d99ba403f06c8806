"""Write tables as TOML, for files that one program writes and another program reads. Pure."""

import json
from collections.abc import Mapping
from typing import Any


def toml_text(document: Mapping[str, Any]) -> str:
    """Return the text of a TOML document. Only the tables at the top get headers; all others are written inline."""
    tables = {key: value for key, value in document.items() if isinstance(value, Mapping)}
    lines = [_entry(key, value) for key, value in document.items() if key not in tables]
    for key, table in tables.items():
        lines += [f"[{_string(key)}]", *(_entry(name, value) for name, value in table.items())]
    return "".join(f"{line}\n" for line in lines)


def _entry(key: str, value: Any) -> str:
    return f"{_string(key)} = {_value(value)}"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, Mapping):
        return f"{{{', '.join(_entry(key, item) for key, item in value.items())}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_value, value))}]"
    return str(value.isoformat() if hasattr(value, "isoformat") else value)  # a date, a time or a number


def _string(text: str) -> str:
    """Return a TOML basic string. JSON's escapes are valid in TOML, but TOML also requires an escape for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
