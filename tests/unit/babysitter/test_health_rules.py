"""What a closer look means."""

import pytest

from svc.babysitter import health_rules
from svc.babysitter.health_rules import NOTHING, Reading, Sign


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (Reading("engine", ("1",)), Reading("engine", ("2",)), True),
        (Reading("engine", ("1",)), Reading("engine", ("1",), running=5), False),
        (Reading("engine", ("1",)), Reading("router", ("2",)), False),
        (NOTHING, Reading("engine", ("2",)), False),
        (Reading("engine", ("1",)), NOTHING, False),
        (NOTHING, NOTHING, False),
    ],
)
def test_only_counters_of_one_source_can_be_compared(before, after, expected):
    assert health_rules.moved(before, after) is expected


@pytest.mark.parametrize("sign", Sign)
def test_only_silence_is_a_failure_and_everything_else_takes_them_back(sign):
    assert health_rules.failures(2, sign) == (3 if sign is Sign.SILENT else 0)


def test_only_looks_in_a_row_count():
    looks = 0
    for used in (11, 11, 10, 11):
        looks = health_rules.above(looks, used, limit=10)
    assert looks == 1


@pytest.mark.parametrize(
    ("waited", "running", "still", "expected"),
    [
        (1, 0, 1, False),  # a router may not have heard of it
        (3, 0, 0, True),
        (3, 2, 20, False),  # a long prompt makes no token for long
        (29, 2, 20, False),
        (31, 2, 0, True),
        (6, None, 4, False),
        (6, None, 6, True),
    ],
)
def test_how_long_begun_requests_get(waited, running, still, expected):
    assert health_rules.drained(waited, running, still) is expected


@pytest.mark.parametrize(
    ("count", "told"),
    [(1 << 20, "1 MiB"), (25 * (1 << 30) + (1 << 28), "25.25 GiB"), (3 << 40, "3 TiB"), (7, "7 bytes")],
)
def test_sizes_as_a_person_writes_them(count, told):
    assert health_rules.size(count) == told
