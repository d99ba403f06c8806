"""The rules that decide when a running instance is restarted: it hangs, or uses too much memory. Pure."""

import dataclasses
from enum import Enum

MAX_SAMPLES_OVER_MEMORY_LIMIT = 3  # in a row: a short peak is not a reason to restart
MIN_DRAIN_SECONDS = 2.0  # until every router has the new state
MAX_DRAIN_SECONDS = 30.0
IDLE_SECONDS = 5.0  # without a token, where no source reports the number of requests


class ProbeOutcome(Enum):
    """The outcome of one probe round; all but SILENT prove that the engine works."""

    MOVED = "moved"  # other requests got tokens since the last round, so no probe was sent
    GENERATED = "generated"  # the probe was answered
    REFUSED = "refused"  # the engine answers, but supports none of the probe requests
    BUSY = "busy"  # the probe was not answered, but other requests got tokens meanwhile
    SILENT = "silent"


@dataclasses.dataclass(frozen=True, slots=True)
class EngineLoad:
    """What one source reports of all requests: counters that grow with each token, and the requests in progress."""

    source: str
    counters: tuple[str, ...] = ()
    running: int | None = None  # None: the source does not report it


UNKNOWN_LOAD = EngineLoad("")


def generated_between(before: EngineLoad, after: EngineLoad) -> bool:
    """Return whether tokens were generated between two readings; False where their sources differ."""
    return before.source == after.source and bool(after.counters) and before.counters != after.counters


def failures(before: int, outcome: ProbeOutcome) -> int:
    """Return the number of failed probes in a row after one more round."""
    return before + 1 if outcome is ProbeOutcome.SILENT else 0


def samples_over_limit(before: int, used: int, limit: int) -> int:
    """Return the number of samples in a row over the memory limit after one more; `used` and `limit` are bytes."""
    return before + 1 if used > limit else 0


def drained(waited: float, running: int | None, idle: float) -> bool:
    """Return whether a draining instance may be ended, `waited` seconds after it began, `idle` of them without a token.

    1. Never before every router has the state.
    2. Always after MAX_DRAIN_SECONDS.
    3. In between, when it has no requests in progress.
    4. Where no source reports its requests, when its counters have stood still for IDLE_SECONDS.
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
