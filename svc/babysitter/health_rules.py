"""The rules that decide when a running instance is restarted, because it hangs or uses too much memory. Pure."""

import dataclasses
from enum import Enum

MAX_SAMPLES_OVER_MEMORY_LIMIT = 3  # so many in a row lead to a restart; a short peak of memory has fewer
MIN_DRAIN_SECONDS = 2.0  # every router learns within this time that the instance is draining
MAX_DRAIN_SECONDS = 30.0
IDLE_SECONDS = 5.0  # if its requests are unknown, an instance counts as idle after this time without a new token


class ProbeOutcome(Enum):
    """The outcome of one probe round. Only SILENT is a failure; every other outcome shows that the engine works."""

    MOVED = "moved"  # no probe was sent, because other requests received tokens since the last round
    GENERATED = "generated"  # the probe was answered
    REFUSED = "refused"  # the engine answers, but supports none of the probe requests
    BUSY = "busy"  # the probe got no answer, but meanwhile other requests received tokens
    SILENT = "silent"


@dataclasses.dataclass(frozen=True, slots=True)
class EngineLoad:
    """The load from one source: counters that grow with the generated tokens, and the number of running requests."""

    source: str
    counters: tuple[str, ...] = ()
    running: int | None = None  # requests in progress; None if the source does not report them


UNKNOWN_LOAD = EngineLoad("")


def generated_between(before: EngineLoad, after: EngineLoad) -> bool:
    """Return whether tokens were generated between two readings; False if they are from different sources."""
    return before.source == after.source and bool(after.counters) and before.counters != after.counters


def failures(before: int, outcome: ProbeOutcome) -> int:
    """Return the number of failed probes in a row after a round; `before` is the number before the round."""
    return before + 1 if outcome is ProbeOutcome.SILENT else 0


def samples_over_limit(before: int, used: int, limit: int) -> int:
    """Return the number of samples in a row over `limit` bytes; `before` is the number before the new sample `used`."""
    return before + 1 if used > limit else 0


def is_drained(waited: float, running: int | None, idle: float) -> bool:
    """Return whether the drain of an instance is over, so that the instance may be ended.

    `waited` is the seconds since the drain began, `idle` the seconds since the instance last generated a token.

    1. Before MIN_DRAIN_SECONDS, the instance may not be ended, so that every router learns of the drain.
    2. After MAX_DRAIN_SECONDS, the instance may be ended in any case.
    3. In between, it may be ended when it has no requests in progress.
    4. If no source reports the requests in progress, it may be ended when it has generated no token for IDLE_SECONDS.
    """
    if waited < MIN_DRAIN_SECONDS:
        return False  # rule 1
    if waited >= MAX_DRAIN_SECONDS:
        return True  # rule 2
    return running == 0 if running is not None else idle >= IDLE_SECONDS  # rules 3 and 4


def format_bytes(count: int) -> str:
    """Return a number of bytes with a binary unit, such as "25.25 GiB"."""
    for unit, shift in (("TiB", 40), ("GiB", 30), ("MiB", 20)):
        if count >= 1 << shift:
            return f"{count / (1 << shift):.4g} {unit}"
    return f"{count} bytes"
