"""The rules that decide when a running instance is restarted, because it hangs or uses too much memory. Pure."""

import dataclasses
from enum import Enum

MAX_SAMPLES_OVER_MEMORY_LIMIT = 3  # in a row: a short peak is not a reason to restart
MIN_DRAIN_SECONDS = 2.0  # time for every router to learn that the instance is draining
MAX_DRAIN_SECONDS = 30.0
IDLE_SECONDS = 5.0  # without a new token, if no source reports the requests in progress


class ProbeOutcome(Enum):
    """The outcome of one probe round; only SILENT is a failure: every other outcome shows that the engine works."""

    MOVED = "moved"  # other requests received tokens since the last round, so no probe was sent
    GENERATED = "generated"  # the probe was answered
    REFUSED = "refused"  # the engine answers, but supports none of the probe requests
    BUSY = "busy"  # the probe was not answered, but other requests received tokens meanwhile
    SILENT = "silent"


@dataclasses.dataclass(frozen=True, slots=True)
class EngineLoad:
    """The load that one source reports: counters that grow with the tokens, and the number of requests in progress."""

    source: str
    counters: tuple[str, ...] = ()
    running: int | None = None  # None: the source does not report it


UNKNOWN_LOAD = EngineLoad("")


def generated_between(before: EngineLoad, after: EngineLoad) -> bool:
    """Return whether tokens were generated between two readings; False if they are from different sources."""
    return before.source == after.source and bool(after.counters) and before.counters != after.counters


def failures(before: int, outcome: ProbeOutcome) -> int:
    """Return the number of failed probes in a row after a round; `before` is the number before that round."""
    return before + 1 if outcome is ProbeOutcome.SILENT else 0


def samples_over_limit(before: int, used: int, limit: int) -> int:
    """Return the number of samples in a row over `limit` bytes, `used` included; `before` is the number before it."""
    return before + 1 if used > limit else 0


def is_drained(waited: float, running: int | None, idle: float) -> bool:
    """Return whether the drain of an instance is over, so that the instance may be ended.

    `waited` is the seconds since the drain began, `idle` the seconds since the instance last generated a token.

    1. It may not be ended before MIN_DRAIN_SECONDS, so that every router learns of the drain.
    2. After MAX_DRAIN_SECONDS it may always be ended.
    3. In between, it may be ended when it has no requests in progress.
    4. If no source reports its requests, it may be ended when it has generated no token for IDLE_SECONDS.
    """
    if waited < MIN_DRAIN_SECONDS:
        return False  # 1
    if waited >= MAX_DRAIN_SECONDS:
        return True  # 2
    return running == 0 if running is not None else idle >= IDLE_SECONDS  # 3, 4


def format_bytes(count: int) -> str:
    """Return a number of bytes with a binary unit, such as "25.25 GiB"."""
    for unit, shift in (("TiB", 40), ("GiB", 30), ("MiB", 20)):
        if count >= 1 << shift:
            return f"{count / (1 << shift):.4g} {unit}"
    return f"{count} bytes"
