"""What is to be thought of an instance that lives: whether it hangs, comes up too late, uses too much. Pure."""

import dataclasses
from enum import Enum

LOOKS = 3  # in a row above the memory limit: a peak is none
DRAIN_AT_LEAST = 2.0  # seconds: until every router has heard of it
DRAIN_AT_MOST = 30.0
STILL = 5.0  # seconds without a token, where nobody tells how many requests there are


class Sign(Enum):
    """What one round of probing has shown; all but the last are signs of life."""

    MOVED = "moved"  # other requests made tokens since the last round: nothing had to be asked
    GENERATED = "generated"  # it answered the probe
    REFUSED = "refused"  # it answered, but does none of what can be asked
    BUSY = "busy"  # no answer to the probe, but other requests moved meanwhile
    SILENT = "silent"


@dataclasses.dataclass(frozen=True, slots=True)
class Reading:
    """What a source tells of all requests: counters that move with each token, and how many there are, if it knows."""

    source: str
    counters: tuple[str, ...] = ()
    running: int | None = None


NOTHING = Reading("")


def moved(before: Reading, after: Reading) -> bool:
    """Whether tokens were made between two readings. Where the sources differ, that cannot be told: not."""
    return before.source == after.source and bool(after.counters) and before.counters != after.counters


def failures(before: int, sign: Sign) -> int:
    """In a row, after one more round."""
    return before + 1 if sign is Sign.SILENT else 0


def above(looks: int, used: int, limit: int) -> int:
    """Looks in a row that found too much memory used, after one more."""
    return looks + 1 if used > limit else 0


def drained(waited: float, running: int | None, still: float) -> bool:
    """Whether an instance that gets nothing new may be ended: `waited` seconds on, `still` of them without a token.

    1. Not before everybody knows; 2. at the latest after a while; 3. when it serves
       nothing; 4. where nobody tells what it serves: when nothing moves any more.
    """
    if waited < DRAIN_AT_LEAST:
        return False  # 1
    if waited >= DRAIN_AT_MOST:
        return True  # 2
    return running == 0 if running is not None else still >= STILL  # 3, 4


def size(count: int) -> str:
    """Bytes, as a person writes them."""
    for unit, shift in (("TiB", 40), ("GiB", 30), ("MiB", 20)):
        if count >= 1 << shift:
            return f"{count / (1 << shift):.4g} {unit}"
    return f"{count} bytes"
