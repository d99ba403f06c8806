"""What counts as a restart, and when it is enough. Pure: `policy` carries it out inside supervisord.

1. A start that somebody asked for (the first one too) sets the count to 0.
2. A start after an exit that nobody asked for is a restart: one more.
3. After such an exit, while restarts are left: wait for `delay`, then start again (BACKOFF).
4. With none left: give up (FATAL). The count stays at `max_restarts`.
5. Where supervisord itself is on its way out, nothing is given up: that is no failure.
6. Why it exited last is told until somebody starts it again.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import TypeVar

N = TypeVar("N", int, float)

MAX_RESTARTS = "SVC_MAX_RESTARTS"
RESTART_DELAY = "SVC_RESTART_DELAY"


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """`max_restarts` in all, `delay` in seconds before each."""

    max_restarts: int
    delay: float


@dataclasses.dataclass(frozen=True, slots=True)
class Count:
    """Restarts since somebody last started it; `failed`: they were used up; `reason`: of the last exit."""

    restarts: int = 0
    failed: bool = False
    reason: str = ""


def limits(environment: Mapping[str, str] | None) -> Limits | None:
    """The limits that a program's environment= carries; None where it is not one of ours.

    Raises ValueError that names the variable.
    """
    if not environment or MAX_RESTARTS not in environment:
        return None
    return Limits(_number(environment, MAX_RESTARTS, int), _number(environment, RESTART_DELAY, float))


def _number(environment: Mapping[str, str], key: str, kind: type[N]) -> N:
    text = environment.get(key, "")
    try:
        value = kind(text)
    except ValueError:
        value = kind(-1)
    if not 0 <= value < math.inf:
        raise ValueError(f"{key}={text!r} must be a number that is not negative")
    return value


def after_start(count: Count, asked: bool) -> Count:
    if asked:
        return Count()  # 1
    return Count(count.restarts + 1, reason=count.reason)  # 2, 6


def after_exit(count: Count, limits: Limits, leaving: bool = False, reason: str = "") -> tuple[Count, float | None]:
    """The count after an exit that nobody asked for, and the seconds until the next start (None: no next one)."""
    if leaving or count.restarts < limits.max_restarts:
        return Count(count.restarts, reason=reason), limits.delay  # 3, 5, 6
    return Count(count.restarts, failed=True, reason=reason), None  # 4
