"""Counts restarts and decides when a program is given up. Pure: `extension` carries it out inside supervisord.

1. A start that was requested (the first start too) resets the count to 0.
2. A start after an unrequested exit is a restart: it adds 1.
3. After such an exit, while restarts are left: wait for `delay`, then start again (BACKOFF).
4. With none left: give up (FATAL). The count stays at `max_restarts`.
5. While supervisord itself shuts down no program is given up: its exit is no failure.
6. The reason of the last exit is kept until a start is requested.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import TypeVar

Number = TypeVar("Number", int, float)

MAX_RESTARTS_VARIABLE = "SVC_MAX_RESTARTS"
RESTART_DELAY_VARIABLE = "SVC_RESTART_DELAY"


@dataclasses.dataclass(frozen=True, slots=True)
class RestartLimits:
    """How often a program is restarted in all, and the seconds before each restart."""

    max_restarts: int
    delay: float


@dataclasses.dataclass(frozen=True, slots=True)
class RestartCount:
    """Restarts since the last requested start; `failed`: they are used up; `reason`: of the last exit."""

    restarts: int = 0
    failed: bool = False
    reason: str = ""


def read_limits(environment: Mapping[str, str] | None) -> RestartLimits | None:
    """Return the limits that a program's environment= carries; None where svc has not rendered the program.

    Raise ValueError that names the variable.
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
        return RestartCount()  # 1
    return RestartCount(count.restarts + 1, reason=count.reason)  # 2, 6


def after_exit(
    count: RestartCount, limits: RestartLimits, shutting_down: bool = False, reason: str = ""
) -> tuple[RestartCount, float | None]:
    """Return the count after an unrequested exit, and the seconds until the next start (None: give up)."""
    if shutting_down or count.restarts < limits.max_restarts:
        return RestartCount(count.restarts, reason=reason), limits.delay  # 3, 5, 6
    return RestartCount(count.restarts, failed=True, reason=reason), None  # 4
