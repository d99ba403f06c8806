"""The reason that is printed for what is waited for longer than usual."""

import threading

import pytest

from svc.terminal.delay_report import DELAY_SECONDS, DelayReport
from tests.waiting import wait_until


@pytest.fixture
def wait():
    """Return a function that waits for items until a moment in seconds, and the lines that were printed."""
    lines, now = [], [0.0]

    def explain(names):
        return [f"problem  {name}: its model loads" for name in names]

    report = DelayReport(explain, lines.append, lambda: now[0])

    def wait(items, until):
        now[0] = until
        report.update(items)
        return lines

    return wait


def test_nothing_is_printed_before_the_delay_or_for_what_is_ready(wait):
    wait(["a"], 0)
    assert wait(["b"], DELAY_SECONDS) == []
    assert wait(["b"], DELAY_SECONDS + 1) == []


def test_the_reason_is_printed_once(wait):
    wait(["a", "b"], 0)
    wait(["a"], DELAY_SECONDS)
    lines = ["not ready after 15 s: a", "  problem  a: its model loads"]
    wait_until(lambda: wait(["a"], DELAY_SECONDS) == lines, description="the thread")
    wait(["a"], 10 * DELAY_SECONDS)
    assert wait(["a"], 10 * DELAY_SECONDS) == lines


def test_a_reason_that_is_not_known_yet_is_looked_for_again():
    lines, now, answers = [], [0.0], iter([[], ["problem  a"]])
    report = DelayReport(lambda names: next(answers), lines.append, lambda: now[0])
    report.update(["a"])
    for moment in (DELAY_SECONDS, DELAY_SECONDS, 2 * DELAY_SECONDS):
        now[0] = moment
        report.update(["a"])
        for thread in [t for t in threading.enumerate() if t.name == "delay reason"]:
            thread.join()
        report.update(["a"])
    assert lines == ["not ready after 15 s: a", "  problem  a"]


def test_a_reason_that_cannot_be_found_out_does_not_end_the_wait():
    lines = []

    def explain(names):
        raise OSError("no disk")

    report = DelayReport(explain, lines.append, iter([0.0, *[DELAY_SECONDS] * 100_000]).__next__)
    report.update(["a"])
    wait_until(lambda: report.update(["a"]) or lines, description="the thread")
    assert lines == ["not ready after 15 s: a", "  the reason cannot be found out: no disk"]
