import pytest
from hypothesis import given
from hypothesis import strategies as st

from svc.router.balance.ejection import (
    EJECTION,
    JITTER,
    LONGEST,
    InstanceHealth,
    checked,
    failed,
    lapsed,
    may_eject,
    served,
    tried,
    untold,
)


def middle() -> float:
    return 0.5  # no jitter


def ejected(before: InstanceHealth = InstanceHealth(), now: float = 0.0) -> InstanceHealth:  # noqa: B008 - frozen
    return failed(before, now, middle, 1)


def trial(before: InstanceHealth) -> InstanceHealth:
    return tried(lapsed(before, before.until))


def test_ejected_after_so_many_failures_in_a_row():
    fitness = InstanceHealth()
    for usable in (True, True, False):
        fitness = failed(fitness, 10.0, middle, 3)
        assert fitness.usable() is usable
    assert fitness.until == 10.0 + EJECTION
    assert failed(served(failed(InstanceHealth(), 0, middle, 2)), 0, middle, 2).usable()


def test_back_by_way_of_one_trial():
    fitness = ejected()
    assert lapsed(fitness, fitness.until - 0.1) == fitness
    assert lapsed(fitness, fitness.until).usable()
    assert not trial(fitness).usable()
    assert served(trial(fitness)) == InstanceHealth()
    assert untold(trial(fitness)) == lapsed(fitness, fitness.until)


def test_a_failed_trial_doubles_the_time_up_to_a_limit():
    fitness, now, times = ejected(), 0.0, []
    for _ in range(12):
        now = fitness.until
        fitness = failed(trial(fitness), now, middle, 3)
        times.append(fitness.until - now)
    assert times[:3] == [2 * EJECTION, 4 * EJECTION, 8 * EJECTION]
    assert times[-1] == pytest.approx(LONGEST)


def test_requests_that_were_begun_before_change_nothing():
    fitness = ejected()
    assert failed(fitness, 1.0, middle, 1) == served(fitness) == untold(fitness) == fitness


def test_the_time_is_jittered():
    assert failed(InstanceHealth(), 0, lambda: 0.0, 1).until == EJECTION * (1 - JITTER)
    assert failed(InstanceHealth(), 0, lambda: 1.0, 1).until == EJECTION * (1 + JITTER)


def test_where_too_many_are_out_it_stays():
    assert failed(InstanceHealth(), 0, middle, 1, may_eject=False).usable()
    assert may_eject(0, 1, 0.5)
    assert may_eject(1, 4, 0.5)
    assert not may_eject(2, 4, 0.5)


def test_health_checks_and_requests_do_not_overrule_each_other():
    fitness = checked(ejected(), True, 3)
    assert fitness.well
    assert not fitness.usable()
    unwell = checked(InstanceHealth(), False, 1)
    assert served(unwell).well is False


def test_who_was_seen_to_go_and_come_back_is_tried_at_once():
    down = checked(ejected(), False, 1)
    back = checked(checked(down, True, 1), True, 1)
    assert back.usable()
    assert not tried(back).usable()
    assert served(tried(back)).until == 0
    tries = checked(checked(trial(down), True, 1), True, 1)
    assert not tries.usable()  # one trial at a time


@given(st.lists(st.sampled_from(["failed", "served", "well", "unwell", "later", "tried", "untold"])), st.floats(0, 1))
def test_whatever_happens_in_whatever_order(events: list[str], draw: float):
    """Never out without a row of failures, never for longer than told, and one trial at a time."""
    fitness, now, row = InstanceHealth(), 100.0, 0
    for event in events:
        before = fitness
        if event == "failed":
            fitness, row = failed(before, now, lambda: draw, 3), row + 1
        elif event == "served":
            fitness, row = served(before), 0
        elif event in ("well", "unwell"):
            fitness = checked(before, event == "well", 3)
        elif event == "later":
            now += 400
            fitness = lapsed(before, now)
        elif event == "tried" and before.trial:
            fitness = tried(before)
        elif event == "untold":
            fitness = untold(before)
        if fitness.until > before.until:
            assert row >= 3 or before.trying
            assert fitness.until <= now + LONGEST * (1 + JITTER)
        assert not (fitness.trial and fitness.trying)
        assert fitness.until or not (fitness.trial or fitness.trying)
        if event in ("well", "unwell"):
            assert (fitness.failures, fitness.ejections) == (before.failures, before.ejections)


def test_the_first_check_counts_alone_and_the_return_takes_two():
    assert checked(InstanceHealth(), True, 3).well
    fitness = InstanceHealth(well=True)
    for well in (True, True, False):
        fitness = checked(fitness, False, 3)
        assert fitness.well is well
    fitness = checked(fitness, True, 3)
    assert not fitness.well
    assert checked(fitness, True, 3).well
    assert not checked(checked(fitness, False, 3), True, 3).well
