"""What is repeated after a failed attempt, and how often. Pure; why that is safe: docs/ROUTER.md, What is repeated.

| outcome | the attempt | repeated |
|---|---|---|
| UNSENT | refused, no connection in time, TLS failed, or closed before it took the whole request | up to the limit |
| UNREADY | the instance's own 503, or a 401 to our key, of which nothing was passed on | up to the limit |
| UNKNOWN | closed or reset after it had taken the whole request | once, and only what infers |
| BEGUN | part of an answer came, or what is no HTTP | never |
"""

import msgspec

from svc.router.balance.target import Target
from svc.router.http.upstream_error import AttemptOutcome

ATTEMPTS = 3  # the limit; on different instances, but for one that refused and may be back


class FailedAttempt(msgspec.Struct, frozen=True):
    """A failed attempt at an instance.

    `refused`: it took no connection; `died`: it had taken one, and takes no more.
    """

    target: Target
    outcome: AttemptOutcome
    reason: str
    refused: bool = False
    timeout: bool = False
    died: bool = False


def is_retryable(failures: tuple[FailedAttempt, ...], infers: bool) -> bool:
    """Whether a request may be sent to another instance after these failures, the last of which was just now."""
    unknown = sum(failure.outcome is AttemptOutcome.UNKNOWN for failure in failures)
    match failures[-1].outcome:
        case AttemptOutcome.BEGUN:
            return False
        case AttemptOutcome.UNKNOWN if not infers or unknown > 1:
            return False
    return len(failures) < ATTEMPTS


def counts_for_budget(failures: tuple[FailedAttempt, ...]) -> bool:
    """Whether the next attempt counts for the retry budget, which limits the extra load on instances that answer 503.

    The first repetition after an instance's death does not: with two or three instances a death is a third to half of
    the load, and each of its requests is sent once more, not more often.
    """
    return len(failures) > 1 or failures[-1].outcome is AttemptOutcome.UNREADY


def kills(failures: tuple[FailedAttempt, ...]) -> bool:
    """Whether a request was in flight on two instances that died within it."""
    return len({failure.target.name for failure in failures if failure.died}) > 1


def explanation(failures: tuple[FailedAttempt, ...]) -> str:
    """Return what happened to a request, in the order in which it did."""
    return "; then ".join(f"{failure.target.name}: {failure.reason}" for failure in failures)
