"""Finds the names that a wrong name may stand for: the models that a client or an operator meant. Pure."""

import difflib
from collections.abc import Iterable

MAX_SIMILAR_NAMES = 2
MIN_SIMILARITY = 0.65  # of difflib's ratio
# A comparison takes time in proportion to the product of both lengths, and clients can send any name.
MAX_COMPARED_CHARS = 64
MAX_COMPARED_NAMES = 200


def similar_names(name: str, known: Iterable[str]) -> list[str]:
    """Return the known names that differ from `name` only in case, in a leading path or slightly in spelling."""
    lower = {other.lower(): other for other in known}
    wanted = name.lower()
    tail = wanted.rpartition("/")[2]
    same_tail = [other for key, other in lower.items() if key.rpartition("/")[2] == tail]
    compared = [key for key in lower if len(key) <= MAX_COMPARED_CHARS][:MAX_COMPARED_NAMES]
    close: list[str] = []
    if len(wanted) <= MAX_COMPARED_CHARS:
        close = difflib.get_close_matches(wanted, compared, MAX_SIMILAR_NAMES, MIN_SIMILARITY)
    return list(dict.fromkeys([*same_tail, *(lower[key] for key in close)]))


def first_names(names: Iterable[str], limit: int) -> str:
    """Return the first names in alphabetical order and the number of the others; "none" if there are no names."""
    ordered = sorted(names)
    more = f" and {len(ordered) - limit} more" if len(ordered) > limit else ""
    return ", ".join(ordered[:limit]) + more or "none"
