"""The restart limits: decide when a program starts again and when it is given up. Pure: `extension` applies them.

1. A requested start, such as the first start, resets the count of restarts to 0.
2. A start after an unrequested exit is a restart and adds 1 to the count.
3. After an unrequested exit, a program with a count below `max_restarts` starts again after `delay` s (BACKOFF).
4. Otherwise the program is given up (FATAL), and keeps its count.
5. While supervisord shuts down, no program is given up, because an exit is not a failure then.
6. The reason of the last exit is kept until the next requested start.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import TypeVar

Number = TypeVar("Number", int, float)

MAX_RESTARTS_VARIABLE = "SVC_MAX_RESTARTS"
RESTART_DELAY_VARIABLE = "SVC_RESTART_DELAY"
RESTART_NOTE = "; restart "  # after the reason of an exit, begins the note about the next restart


@dataclasses.dataclass(frozen=True, slots=True)
class RestartLimits:
    """The limit on a program's restarts, and the delay in seconds before each restart."""

    max_restarts: int
    delay: float


@dataclasses.dataclass(frozen=True, slots=True)
class RestartCount:
    """The restarts since the last requested start. `failed` means given up; `reason` explains the last exit."""

    restarts: int = 0
    failed: bool = False
    reason: str = ""


def read_limits(environment: Mapping[str, str] | None) -> RestartLimits | None:
    """Return the restart limits in a program's environment=, or None for a program that svc did not render.

    Raise ValueError with the variable's name if a limit is missing or invalid.
    """
    if not environment or MAX_RESTARTS_VARIABLE not in environment:
        return None
    return RestartLimits(
        _number(environment, MAX_RESTARTS_VARIABLE, int), _number(environment, RESTART_DELAY_VARIABLE, float)
    )


def _number(environment: Mapping[str, str], key: str, kind: type[Number]) -> Number:
    text = environment.get(key, "")
    try:
        value = kind(text)
    except ValueError:
        value = kind(-1)
    if not 0 <= value < math.inf:
        raise ValueError(f"{key}={text!r} must be a number that is not negative")
    return value


def after_start(count: RestartCount, requested: bool) -> RestartCount:
    """Return the count after a start."""
    if requested:
        return RestartCount()  # rule 1
    return RestartCount(count.restarts + 1, reason=count.reason)  # rules 2 and 6


def after_exit(
    count: RestartCount, limits: RestartLimits, shutting_down: bool = False, reason: str = ""
) -> tuple[RestartCount, float | None]:
    """Return the count after an unrequested exit, and the seconds until the next start.

    The seconds are None if the program is given up.
    """
    if shutting_down or count.restarts < limits.max_restarts:
        return RestartCount(count.restarts, reason=reason), limits.delay  # rules 3, 5 and 6
    return RestartCount(count.restarts, failed=True, reason=reason), None  # rule 4
