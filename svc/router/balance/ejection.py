"""Whether an instance is fit for requests, as the router itself has seen: pure.

Two judges that do not overrule each other:

1. Health checks: unwell after `max_errors` failed ones in a row, well after two good ones
   (the first ever counts alone).
2. Requests: ejected after `max_errors` failures in a row; only transport failures and 502, 503 and 504 are failures,
   never what a client can cause. Back after a time that doubles with each ejection in a row, by way of one trial
   request, at once where checks have seen it go and come back. (Envoy's outlier detection, with Finagle's jitter.)
"""

from collections.abc import Callable

import msgspec

WELL_AFTER = 2  # good checks in a row
EJECTION = 5.0  # seconds of the first ejection
LONGEST = 300.0  # seconds of the longest
JITTER = 0.25  # of the time, either way: instances that went together do not return together


class InstanceHealth(msgspec.Struct, frozen=True):
    """Counts in a row, and until when an instance is ejected (monotonic seconds; 0: it is not)."""

    well: bool | None = None  # None until it was checked
    bad_checks: int = 0
    good_checks: int = 0
    failures: int = 0
    ejections: int = 0
    until: float = 0.0
    trial: bool = False  # its time is over: one request may try it
    trying: bool = False  # and does
    told: bool = False  # its ejection is news: its checks did not fail before

    def usable(self) -> bool:
        return not self.until or self.trial


def checked(before: InstanceHealth, well: bool, max_errors: int) -> InstanceHealth:
    """After a health check."""
    change = msgspec.structs.replace
    if not well:
        bad = before.bad_checks + 1
        return change(before, bad_checks=bad, good_checks=0, well=False if bad >= max_errors else before.well)
    good = before.good_checks + 1
    settled = before.well is None or before.well or good >= WELL_AFTER
    after = change(before, bad_checks=0, good_checks=min(good, WELL_AFTER), well=True if settled else before.well)
    returned = settled and before.well is False and before.until and not before.trying
    return change(after, trial=True) if returned else after  # it was down and is back: no need to wait


def failed(
    before: InstanceHealth, now: float, draw: Callable[[], float], max_errors: int, may_eject: bool = True
) -> InstanceHealth:
    """After a request that failed; `may_eject` is false where too many are out already."""
    failures = before.failures + 1
    if before.until and not before.trying:  # begun before it was ejected
        return before
    if not (before.trying or failures >= max_errors) or not (before.trying or may_eject):
        return msgspec.structs.replace(before, failures=failures)
    out = min(LONGEST, EJECTION * 2**before.ejections) * (1 + JITTER * (2 * draw() - 1))
    ejections = min(before.ejections + 1, 16)
    told = before.told or before.well is not False
    return msgspec.structs.replace(before, failures=0, ejections=ejections, until=now + out, trying=False, told=told)


def served(before: InstanceHealth) -> InstanceHealth:
    """After an answer: the row of failures ends, and with a trial that went well the ejection."""
    if before.until and not before.trying:
        return before
    return msgspec.structs.replace(before, failures=0, ejections=0, until=0.0, trying=False, told=False)


def tried(before: InstanceHealth) -> InstanceHealth:
    """The trial request is on its way, and the only one."""
    return msgspec.structs.replace(before, trial=False, trying=True)


def untold(before: InstanceHealth) -> InstanceHealth:
    """A request ended without a word on the instance (its client left): a trial begins anew."""
    return msgspec.structs.replace(before, trial=True, trying=False) if before.trying else before


def lapsed(before: InstanceHealth, now: float) -> InstanceHealth:
    """An ejection whose time is over becomes a trial."""
    if before.until and not before.trial and not before.trying and now >= before.until:
        return msgspec.structs.replace(before, trial=True)
    return before


def may_eject(out: int, all: int, share: float) -> bool:
    """Whether one more may go: no more than `share` of them at once, but one always."""
    return out + 1 <= max(1, int(all * share))
