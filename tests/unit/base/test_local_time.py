import time
from collections.abc import Iterator
from datetime import datetime

import pytest

from svc.base.local_time import day_around, parse_time

NOW = datetime(2026, 12, 1, 13, 30).timestamp()


@pytest.fixture(params=["UTC", "Asia/Shanghai", "America/New_York"], autouse=True)
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_times_are_written_in_several_ways():
    assert parse_time("24h", 100_000) == 100_000 - 86400
    assert parse_time("7d", 1e6) == 1e6 - 7 * 86400
    assert parse_time("1800000000", 0) == 1_800_000_000
    assert parse_time("2026-12-01", 0) == datetime(2026, 12, 1).timestamp()
    assert parse_time("2026-12-01T13:00", 0) == datetime(2026, 12, 1, 13).timestamp()
    assert parse_time("1970-01-02T00:00:00Z", 0) == 86400
    now = datetime(2026, 12, 1, 13, 30).timestamp()
    assert parse_time("today", now) == datetime(2026, 12, 1).timestamp()


@pytest.mark.parametrize("text", ["", "yesterday", "7w", "-1", "nan", "1e300", "2026-13-01", "99999999999999999999d"])
def test_what_is_no_time_is_refused(text: str):
    with pytest.raises(ValueError, match="is no time"):
        parse_time(text, NOW)


def test_a_day_begins_and_ends_at_midnight_even_if_the_clocks_change():
    for month, day in ((12, 1), (3, 8), (11, 1)):  # in New York, the clocks change on two of these days
        start, end = day_around(datetime(2026, month, day, 13).timestamp())
        assert (start, end) == (
            datetime(2026, month, day).timestamp(),
            datetime(2026, month, day + 1).timestamp(),
        )
