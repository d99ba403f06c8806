"""Compare the output that a document shows with the real one.

In text, numbers and spaces may differ, and `...` matches any text. Of JSON, the real output has the fields that are
shown, with values of the same types; it may have more.
"""

import itertools
import json
import re
from collections.abc import Iterable
from typing import Any


def first_missing_line(shown: str, output: str) -> str:
    """Return the first line of `shown` that the output lacks after the lines before it; "" where it has all."""
    remaining = [_plain(line) for line in _ordered(output.splitlines())]
    for line in _ordered(shown.splitlines()):
        pattern = re.compile(re.sub(r"(\\ )?\\\.\\\.\\\.(\\ )?", ".*", re.escape(_plain(line))))
        while remaining and not pattern.fullmatch(remaining[0]):
            remaining.pop(0)
        if not remaining:
            return line
        remaining.pop(0)
    return ""


def _ordered(lines: Iterable[str]) -> list[str]:
    """Return the lines with those of programs that became ready sorted: the order in which they do so varies."""
    groups = itertools.groupby(lines, key=lambda line: " ready at " in line)
    return [line for is_ready, group in groups for line in (sorted(group) if is_ready else group)]


def _plain(line: str) -> str:
    return " ".join(re.sub(r"\d+(\.\d+)?", "0", line).split())


def first_json_difference(shown: str, output: str) -> str:
    """Return how the last JSON object of the output differs from the one shown; "" if it has all that is shown."""
    real = None
    for line in output.splitlines():
        if line.startswith(("{", "[")):
            real = _parsed(line, real)
    return "the output has no JSON" if real is None else _difference(json.loads(shown), real, "the answer")


def _parsed(line: str, otherwise: Any) -> Any:
    try:
        return json.JSONDecoder().raw_decode(line)[0]  # the next command may follow on the same line
    except json.JSONDecodeError:
        return otherwise


def _difference(shown: Any, real: Any, place: str) -> str:
    if isinstance(shown, dict) and isinstance(real, dict):
        if missing := shown.keys() - real.keys():
            return f"{place} has no {sorted(missing)}"
        pairs = [(shown[key], real[key], f"{place}.{key}") for key in shown]
    elif isinstance(shown, list) and isinstance(real, list):
        if len(real) < len(shown):
            return f"{place} has {len(real)} entries"
        pairs = [(entry, real[index], f"{place}[{index}]") for index, entry in enumerate(shown)]
    else:
        is_alike = shown is None or _kind(shown) == _kind(real)  # null: not known yet, such as the load of an engine
        return "" if is_alike else f"{place} is {real!r}"
    return next(filter(None, (_difference(*pair) for pair in pairs)), "")


def _kind(value: Any) -> type:
    return float if type(value) is int else type(value)
