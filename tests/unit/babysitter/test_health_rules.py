"""When an instance counts as hung, over its memory limit, or drained."""

import pytest

from svc.babysitter import health_rules
from svc.babysitter.health_rules import UNKNOWN_LOAD, EngineLoad, ProbeOutcome


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (EngineLoad("engine", ("1",)), EngineLoad("engine", ("2",)), True),
        (EngineLoad("engine", ("1",)), EngineLoad("engine", ("1",), running=5), False),
        (EngineLoad("engine", ("1",)), EngineLoad("router", ("2",)), False),
        (UNKNOWN_LOAD, EngineLoad("engine", ("2",)), False),
        (EngineLoad("engine", ("1",)), UNKNOWN_LOAD, False),
        (UNKNOWN_LOAD, UNKNOWN_LOAD, False),
    ],
)
def test_tokens_moved_only_between_readings_of_one_source(before, after, expected):
    assert health_rules.generated_between(before, after) is expected


@pytest.mark.parametrize("outcome", ProbeOutcome)
def test_only_silence_is_a_failure_and_other_outcomes_reset_the_count(outcome):
    assert health_rules.failures(2, outcome) == (3 if outcome is ProbeOutcome.SILENT else 0)


def test_only_samples_in_a_row_over_the_limit_count():
    samples = 0
    for used in (11, 11, 10, 11):
        samples = health_rules.samples_over_limit(samples, used, limit=10)
    assert samples == 1


@pytest.mark.parametrize(
    ("waited", "running", "idle", "expected"),
    [
        (1, 0, 1, False),  # a router may not have the new state yet
        (3, 0, 0, True),
        (3, 2, 20, False),  # a long prompt generates no token for a while
        (29, 2, 20, False),
        (31, 2, 0, True),
        (6, None, 4, False),
        (6, None, 6, True),
    ],
)
def test_when_a_draining_instance_may_be_ended(waited, running, idle, expected):
    assert health_rules.is_drained(waited, running, idle) is expected


@pytest.mark.parametrize(
    ("count", "text"),
    [(1 << 20, "1 MiB"), (25 * (1 << 30) + (1 << 28), "25.25 GiB"), (3 << 40, "3 TiB"), (7, "7 bytes")],
)
def test_bytes_are_formatted_with_a_binary_unit(count, text):
    assert health_rules.format_bytes(count) == text
