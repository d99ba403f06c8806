"""Find the known names that a mistyped name may stand for, for error messages. Pure.

`did_you_mean` is for the names that an operator types; `similar_names`, whose cost is bounded, for those that a client
sends.
"""

import heapq
from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches
from itertools import islice

MAX_SIMILAR_NAMES = 2
MAX_SAME_TAILS = 4  # how many names are returned that differ from the mistyped name only in a leading path (org/NAME)
MIN_SIMILARITY = 0.65  # minimum ratio of difflib; equal names have 1.0
# Limits, because clients can send any name, and an exact comparison of two names takes time in proportion to the
# product of their lengths.
MAX_COMPARED_CHARS = 64
MAX_COMPARED_NAMES = 200
MAX_EXACT_COMPARISONS = 10  # only the names with the most characters in common are compared exactly


def did_you_mean(name: str, known: Iterable[str], otherwise: str) -> str:
    """Return "did you mean NAME?" with the most similar known name; `otherwise` if no known name is similar."""
    close = get_close_matches(name, list(known), 1)
    return f"did you mean {close[0]}?" if close else otherwise


def similar_names(name: str, known: Iterable[str]) -> list[str]:
    """Return the known names that differ from `name` only in case, in a leading path or slightly in spelling."""
    lower = {other.lower(): other for other in known}
    wanted = name.lower()
    tail = wanted.rpartition("/")[2]
    same_name = [lower[wanted]] if wanted in lower else []
    same_tail = islice((other for key, other in lower.items() if key.rpartition("/")[2] == tail), MAX_SAME_TAILS)
    return list(dict.fromkeys([*same_name, *same_tail, *(lower[key] for key in _close_names(wanted, lower))]))


def _close_names(wanted: str, known: Iterable[str]) -> list[str]:
    """Return the names with a similar spelling, the closest first."""
    if len(wanted) > MAX_COMPARED_CHARS:
        return []
    matcher = SequenceMatcher(b=wanted)
    bounds = []  # upper bounds of the ratios, because computing a ratio is expensive
    for name in [name for name in known if len(name) <= MAX_COMPARED_CHARS][:MAX_COMPARED_NAMES]:
        matcher.set_seq1(name)
        if matcher.real_quick_ratio() >= MIN_SIMILARITY:
            bounds.append((matcher.quick_ratio(), name))
    ratios = []
    for _, name in heapq.nlargest(MAX_EXACT_COMPARISONS, bounds):
        matcher.set_seq1(name)
        ratios.append((matcher.ratio(), name))
    return [name for ratio, name in heapq.nlargest(MAX_SIMILAR_NAMES, ratios) if ratio >= MIN_SIMILARITY]


def abbreviated_list(names: Iterable[str], limit: int) -> str:
    """Return the first `limit` names in alphabetical order and the number of the others; "none" without any names."""
    ordered = sorted(names)
    more = f" and {len(ordered) - limit} more" if len(ordered) > limit else ""
    return ", ".join(ordered[:limit]) + more or "none"
