"""The rules for retries: after which failed attempts a request is tried again, and how often. Pure.

`forward` applies them, with the retry budget of `Balancer.may_retry`; docs/ROUTER.md explains the reasons.

| outcome | the attempt | retried |
|---|---|---|
| UNSENT | refused, no connection in time, TLS failed, or closed before the whole request was taken | up to the limit |
| UNREADY | the instance answered 503, or 401 to the router's key, and none of it was passed on | up to the limit |
| UNKNOWN | closed or reset after the whole request was taken | once, and inference requests only |
| BEGUN | part of a response arrived, or bytes that are not HTTP | never |
"""

import msgspec

from svc.router.balance.target import Target
from svc.router.http.upstream_error import AttemptOutcome

MAX_ATTEMPTS = 3  # for one request, at different instances; an instance that refused a connection may be tried again


class FailedAttempt(msgspec.Struct, frozen=True):
    """A failed attempt at an instance.

    `refused`: the instance refused the connection; `timeout`: the connection was not established in time; `died`: the
    instance had accepted the connection, and now refuses new ones.
    """

    target: Target
    outcome: AttemptOutcome
    reason: str
    refused: bool = False
    timeout: bool = False
    died: bool = False


def is_retryable(failures: tuple[FailedAttempt, ...], is_inference: bool) -> bool:
    """Return whether a request may be sent again after these failures.

    `is_inference`: the request only asks for inference and changes nothing at the instance.
    """
    unknown = sum(failure.outcome is AttemptOutcome.UNKNOWN for failure in failures)
    match failures[-1].outcome:
        case AttemptOutcome.BEGUN:
            return False
        case AttemptOutcome.UNKNOWN if not is_inference or unknown > 1:
            return False
    return len(failures) < MAX_ATTEMPTS


def counts_for_budget(failures: tuple[FailedAttempt, ...]) -> bool:
    """Return whether the next attempt counts for the retry budget, which limits the load of retries on instances.

    The first retry after an instance's death does not count. With two or three instances, a death affects a third to
    half of all requests, and each affected request is sent only once more.
    """
    return len(failures) > 1 or failures[-1].outcome is AttemptOutcome.UNREADY


def kills(failures: tuple[FailedAttempt, ...]) -> bool:
    """Return whether at least two instances died while they served the request."""
    return len({failure.target.name for failure in failures if failure.died}) > 1


def explanation(failures: tuple[FailedAttempt, ...]) -> str:
    """Return the reasons of all failures in the order of the attempts, as text for an error message."""
    return "; then ".join(f"{failure.target.name}: {failure.reason}" for failure in failures)
