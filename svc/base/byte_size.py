"""Sizes as people write them, such as "24GiB". Pure."""

import re

SIZE = re.compile(r"(\d{1,12}(?:\.\d{1,6})?) ?([KMGT]i?B)")
UNITS = {
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}


def parse_size(text: str) -> int | None:
    """Return the number of bytes; None if the text is not a number with a unit."""
    match = SIZE.fullmatch(text)
    return int(float(match[1]) * UNITS[match[2]]) if match else None


def size_text(size: int) -> str:
    """Return a number of bytes as people read it, such as "38 GB"."""
    for unit in ("TB", "GB", "MB"):
        if size >= UNITS[unit]:
            return f"{size / UNITS[unit]:.3g} {unit}" if size < 1000 * UNITS[unit] else f"{size // UNITS[unit]} {unit}"
    return f"{size} bytes"


def distinct_size_texts(size: int, other: int) -> tuple[str, str]:
    """Return two sizes as people read them, with more digits in GB if they differ but would look equal."""
    texts = size_text(size), size_text(other)
    if size == other or texts[0] != texts[1]:
        return texts
    return f"{size / UNITS['GB']:.9g} GB", f"{other / UNITS['GB']:.9g} GB"


def gigabytes(size: int) -> str:
    """Return a number of bytes in GB as a narrow column shows it, without the unit: "38", or "9.5" if it is small."""
    number = size / UNITS["GB"]
    return f"{number:.0f}" if number >= 9.95 else f"{number:.1f}".removesuffix(".0")
