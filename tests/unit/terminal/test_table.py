"""Durations in a table; the table itself is tested with the tables that use it."""

import pytest

from svc.terminal.table import duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0, "0s"), (59, "59s"), (60, "1m0s"), (3599, "59m59s"), (3660, "1h1m"), (90061, "1d1h")],
)
def test_a_duration_has_its_two_largest_units(seconds, text):
    assert duration(seconds) == text
