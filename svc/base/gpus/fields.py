"""Read the fields in the outputs of vendors' tools, which mark a missing value in many ways. Pure."""

import itertools
import json
import re
import sys
from collections.abc import Iterator
from typing import Any

from svc.base.gpus.gpu import MAX_BYTES, MAX_PID, MAX_TEXT_LENGTH
from svc.base.printable import printable

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
# The tools write MB for MiB; amd-smi also writes B. All units are accepted from all tools.
UNIT_BYTES = {"B": 1, "KB": KIB, "KIB": KIB, "MB": MIB, "MIB": MIB, "GB": GIB, "GIB": GIB}
NUMBER = re.compile(r"\s*(-?\d+(?:\.\d+)?)\s*(?:[%CW]|°C|[KMG]i?B)?\s*")
MAX_JSON_STARTS = 16  # lines that are tried as the beginning of the JSON: a try may parse all the rest of the output
FAULT = re.compile(r"(?i)requires reset|is lost|fallen off|unknown error|^err!?$")


def number(value: object) -> float | None:
    """Return the number in a field, with or without its unit; None for [N/A], [Not Supported], ERR! and the like.

    amd-smi writes a number with its unit as an object: {"value": 94, "unit": "%"}.
    """
    if isinstance(value, dict):
        value = value.get("value")
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return float(value) if -sys.float_info.max <= value <= sys.float_info.max else None
    match = NUMBER.fullmatch(value) if isinstance(value, str) else None
    return float(match[1]) if match else None


def in_range(value: float | None, low: float, high: float) -> float | None:
    """Return `value` if it is between `low` and `high`, else None."""
    return value if value is not None and low <= value <= high else None


def share(percent: object) -> float | None:
    """Return a percentage as a number from 0 to 1."""
    value = in_range(number(percent), 0, 100)
    return None if value is None else round(value / 100, 4)


def temperature(value: object) -> float | None:
    return in_range(number(value), -100, 1000)


def power(value: object) -> float | None:
    return in_range(number(value), 0, 1e6)


def count(value: object) -> int | None:
    amount = in_range(number(value), 0, MAX_BYTES)
    return None if amount is None else int(amount)


def pid(value: object) -> int | None:
    """Return the pid in a field; None if the field contains no pid."""
    amount = in_range(number(value), 1, MAX_PID)
    return None if amount is None else int(amount)


def size(value: object, unit: int = MIB) -> int | None:
    """Return the number of bytes in a field. A number without a unit is multiplied by `unit`."""
    if isinstance(value, dict):
        unit = UNIT_BYTES.get(str(value.get("unit", "")).upper(), unit)
    amount = number(value)
    return None if amount is None or not 0 <= amount * unit <= MAX_BYTES else int(amount * unit)


def text(value: object) -> str:
    """Return a text in a field, short enough for a report; "" if the tool prints none."""
    name = printable(value).strip() if isinstance(value, str) else ""
    return "" if re.fullmatch(r"\[?(N/A|Not (Found|Supported))\]?", name, re.I) else name[:MAX_TEXT_LENGTH]


def fault(*values: object) -> str:
    """Return the first of the fields that reports a broken GPU, such as "GPU requires reset"; "" if none does."""
    faults = (value for value in values if isinstance(value, str) and FAULT.search(value.strip("[] ")))
    return text(next(faults, "").strip("[] "))


def table_cells(output: str) -> Iterator[list[str]]:
    """Yield the rows of a table that is drawn with characters, each as the cells between its vertical bars."""
    for line in output.splitlines():
        if line.startswith("|") and line.rstrip().endswith("|"):
            yield [cell.strip() for cell in line.strip().strip("|").split("|")]


def json_value(output: str) -> Any:
    """Return the JSON in an output, also after the warnings that rocm-smi prints; raise ValueError if there is none."""
    start = min((at for at in (output.find("{"), output.find("[")) if at >= 0), default=len(output))
    lines = (match.start() + 1 for match in re.finditer(r"\n(?=[{\[])", output))
    for at in (start, *itertools.islice(lines, MAX_JSON_STARTS)):
        try:
            return json.JSONDecoder().raw_decode(output, at)[0]
        except (ValueError, RecursionError):
            continue
    raise ValueError("it prints no JSON")
