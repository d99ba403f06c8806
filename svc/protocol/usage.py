"""The usage of keys, users and models: the counts of one row, and the sums of rows. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

DIMENSIONS = ("key", "user", "model", "day", "hour")  # rows can be summed by these
DEFAULT_DIMENSIONS = ("key", "user", "model")
OTHER = "(other)"  # in place of users, models or keys that get no row of their own because there are too many


class UsageCounts(msgspec.Struct, gc=False, kw_only=True):
    """Counts of requests, tokens and times. `prompt`, `cached`, `completion` and `estimated` are tokens.

    `prompt` includes `cached`.
    """

    requests: int = 0
    failed: int = 0  # requests that got an error, or an answer that broke off
    prompt: int = 0
    cached: int = 0
    completion: int = 0
    estimated: int = 0  # the part of `prompt` and `completion` that is estimated, because no answer reported it
    stream_seconds: float = 0.0  # sum of the times for which answers were streamed
    queue_seconds: float = 0.0  # sum of the times for which requests waited for an instance

    def add(self, other: "UsageCounts") -> None:
        """Add the counts of another row. A loop over the names would cost more, and routers add many rows."""
        self.requests += other.requests
        self.failed += other.failed
        self.prompt += other.prompt
        self.cached += other.cached
        self.completion += other.completion
        self.estimated += other.estimated
        self.stream_seconds += other.stream_seconds
        self.queue_seconds += other.queue_seconds


COUNT_NAMES = UsageCounts.__struct_fields__


class UsageRow(UsageCounts, kw_only=True, omit_defaults=False):
    """The counts of all requests with these values of the dimensions; "" in dimensions that are summed up."""

    key: str = ""
    user: str = ""
    model: str = ""
    day: str = ""  # 2026-12-01, in the time zone of the router
    hour: str = ""  # 2026-12-01T13:00


class UsageReport(msgspec.Struct, kw_only=True):
    """The answer of a router to GET /usage. `since` and `until` are Unix seconds.

    `recent` are the sums of the last minute, by key and user. `problem`: why the rows are not complete; "" if they are.
    """

    since: float
    until: float
    by: list[str]
    rows: list[UsageRow]
    recent: list[UsageRow] = []
    problem: str = ""


def summed(rows: Iterable[UsageRow], by: Sequence[str]) -> list[UsageRow]:
    """Sum the rows that are equal in the dimensions `by`; return the sums, oldest first, then most tokens first."""
    sums: dict[tuple[str, ...], UsageRow] = {}
    for row in rows:
        place = tuple(getattr(row, dimension) for dimension in by)
        total = sums.get(place)
        if total is None:
            total = sums[place] = UsageRow(**dict(zip(by, place, strict=True)))
        total.add(row)
    return sorted(sums.values(), key=lambda row: (row.day, row.hour, -row.prompt - row.completion, -row.requests))


def total_of(rows: Iterable[UsageCounts]) -> UsageCounts:
    """Return the sum of all rows."""
    total = UsageCounts()
    for row in rows:
        total.add(row)
    return total


def as_dict(row: UsageCounts, by: Sequence[str]) -> Mapping[str, Any]:
    """Return the dimensions `by` and the counts of a row."""
    return {name: getattr(row, name) for name in (*by, *COUNT_NAMES)}


def parse_dimensions(text: str) -> tuple[str, ...]:
    """Return the dimensions in a text such as `key,day`; raise ValueError for an unknown one."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in DIMENSIONS:
            raise ValueError(f"{name!r} is nothing to sum by; choose among {', '.join(DIMENSIONS)}")
    return names
