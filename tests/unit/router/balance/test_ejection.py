import pytest
from hypothesis import given
from hypothesis import strategies as st

from svc.router.balance.ejection import (
    BASE_EJECTION_SECONDS,
    EJECTION_JITTER_RATIO,
    MAX_EJECTION_SECONDS,
    InstanceHealth,
    after_check,
    after_failure,
    after_inconclusive,
    after_success,
    may_eject,
    with_ejection_lapsed,
    with_trial_begun,
)


def no_jitter() -> float:
    return 0.5


def ejected(before: InstanceHealth = InstanceHealth(), now: float = 0.0) -> InstanceHealth:  # noqa: B008 - frozen
    return after_failure(before, now, no_jitter, 1)


def trial(before: InstanceHealth) -> InstanceHealth:
    return with_trial_begun(with_ejection_lapsed(before, before.ejected_until))


def test_three_failures_in_a_row_eject():
    health = InstanceHealth()
    for usable in (True, True, False):
        health = after_failure(health, 10.0, no_jitter, 3)
        assert health.is_usable() is usable
    assert health.ejected_until == 10.0 + BASE_EJECTION_SECONDS
    assert after_failure(after_success(after_failure(InstanceHealth(), 0, no_jitter, 2)), 0, no_jitter, 2).is_usable()


def test_one_trial_request_ends_an_ejection():
    health = ejected()
    assert with_ejection_lapsed(health, health.ejected_until - 0.1) == health
    assert with_ejection_lapsed(health, health.ejected_until).is_usable()
    assert not trial(health).is_usable()
    assert after_success(trial(health)) == InstanceHealth()
    assert after_inconclusive(trial(health)) == with_ejection_lapsed(health, health.ejected_until)


def test_a_failed_trial_doubles_the_time_up_to_a_limit():
    health, now, times = ejected(), 0.0, []
    for _ in range(12):
        now = health.ejected_until
        health = after_failure(trial(health), now, no_jitter, 3)
        times.append(health.ejected_until - now)
    assert times[:3] == [2 * BASE_EJECTION_SECONDS, 4 * BASE_EJECTION_SECONDS, 8 * BASE_EJECTION_SECONDS]
    assert times[-1] == pytest.approx(MAX_EJECTION_SECONDS)


def test_requests_from_before_the_ejection_change_nothing():
    health = ejected()
    assert after_failure(health, 1.0, no_jitter, 1) == after_success(health) == after_inconclusive(health) == health


def test_the_time_of_an_ejection_is_jittered():
    assert after_failure(InstanceHealth(), 0, lambda: 0.0, 1).ejected_until == BASE_EJECTION_SECONDS * (
        1 - EJECTION_JITTER_RATIO
    )
    assert after_failure(InstanceHealth(), 0, lambda: 1.0, 1).ejected_until == BASE_EJECTION_SECONDS * (
        1 + EJECTION_JITTER_RATIO
    )


def test_no_more_than_the_maximum_share_is_ejected():
    assert after_failure(InstanceHealth(), 0, no_jitter, 1, may_eject=False).is_usable()
    assert may_eject(0, 1, 0.5)
    assert may_eject(1, 4, 0.5)
    assert not may_eject(2, 4, 0.5)


def test_health_checks_and_requests_do_not_overrule_each_other():
    health = after_check(ejected(), True, 3)
    assert health.healthy
    assert not health.is_usable()
    unhealthy = after_check(InstanceHealth(), False, 1)
    assert after_success(unhealthy).healthy is False


def test_an_instance_whose_checks_recover_is_tried_at_once():
    down = after_check(ejected(), False, 1)
    back = after_check(after_check(down, True, 1), True, 1)
    assert back.is_usable()
    assert not with_trial_begun(back).is_usable()
    assert after_success(with_trial_begun(back)).ejected_until == 0
    tries = after_check(after_check(trial(down), True, 1), True, 1)
    assert not tries.is_usable()  # one trial at a time


@given(
    st.lists(
        st.sampled_from(
            ["failed", "succeeded", "passed check", "failed check", "later", "trial begins", "inconclusive"]
        )
    ),
    st.floats(0, 1),
)
def test_invariants_hold_for_any_order_of_events(events: list[str], draw: float):
    """No ejection without failures in a row, none over the maximum time, and one trial at a time."""
    health, now, failures = InstanceHealth(), 100.0, 0
    for event in events:
        before = health
        if event == "failed":
            health, failures = after_failure(before, now, lambda: draw, 3), failures + 1
        elif event == "succeeded":
            health, failures = after_success(before), 0
        elif event in ("passed check", "failed check"):
            health = after_check(before, event == "passed check", 3)
        elif event == "later":
            now += 400
            health = with_ejection_lapsed(before, now)
        elif event == "trial begins" and before.trial_due:
            health = with_trial_begun(before)
        elif event == "inconclusive":
            health = after_inconclusive(before)
        if health.ejected_until > before.ejected_until:
            assert failures >= 3 or before.in_trial
            assert health.ejected_until <= now + MAX_EJECTION_SECONDS * (1 + EJECTION_JITTER_RATIO)
        assert not (health.trial_due and health.in_trial)
        assert health.ejected_until or not (health.trial_due or health.in_trial)
        if event in ("passed check", "failed check"):
            assert (health.failures, health.ejections) == (before.failures, before.ejections)


def test_the_first_check_decides_alone_and_a_recovery_takes_two():
    assert after_check(InstanceHealth(), True, 3).healthy
    health = InstanceHealth(healthy=True)
    for healthy in (True, True, False):
        health = after_check(health, False, 3)
        assert health.healthy is healthy
    health = after_check(health, True, 3)
    assert not health.healthy
    assert after_check(health, True, 3).healthy
    assert not after_check(after_check(health, False, 3), True, 3).healthy
