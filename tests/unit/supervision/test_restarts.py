import pytest

from svc.supervision.restarts import Count, Limits, after_exit, after_start, limits


def lifetime(limits: Limits) -> list[float]:
    """The delays of a program that dies whenever it runs, until it is given up."""
    count, delays = after_start(Count(7, failed=True), asked=True), []
    while True:
        count, delay = after_exit(count, limits)
        if delay is None:
            assert count == Count(limits.max_restarts, failed=True)
            return delays
        delays.append(delay)
        count = after_start(count, asked=False)


@pytest.mark.parametrize("max_restarts", [0, 1, 2, 50])
def test_it_gives_up_after_exactly_so_many_restarts(max_restarts):
    assert lifetime(Limits(max_restarts, 1.5)) == [1.5] * max_restarts


def test_a_start_by_hand_begins_anew():
    assert after_start(Count(9, failed=True), asked=True) == Count(0, failed=False)


def test_an_exit_is_not_yet_a_restart():
    count, delay = after_exit(Count(3), Limits(10, 5))
    assert (count, delay) == (Count(3), 5)
    assert after_start(count, asked=False) == Count(4)


def test_why_it_exited_is_told_until_somebody_starts_it():
    count, _ = after_exit(Count(), Limits(10, 5), reason="hung")
    assert after_start(count, asked=False) == Count(1, reason="hung")
    assert after_start(count, asked=True) == Count()


def test_nothing_is_given_up_while_supervisord_leaves():
    count, delay = after_exit(Count(2), Limits(2, 5), leaving=True)
    assert not count.failed
    assert delay is not None


def test_limits_are_read_from_the_environment():
    assert limits({"SVC_MAX_RESTARTS": "3", "SVC_RESTART_DELAY": "0.25"}) == Limits(3, 0.25)
    assert limits({"SVC_MAX_RESTARTS": "0", "SVC_RESTART_DELAY": "0"}) == Limits(0, 0)


@pytest.mark.parametrize("environment", [None, {}, {"PATH": "/bin"}, {"SVC_RESTART_DELAY": "5"}])
def test_programs_without_a_limit_are_not_ours(environment):
    assert limits(environment) is None


@pytest.mark.parametrize(
    ("max_restarts", "delay", "named"),
    [
        ("x", "5", "SVC_MAX_RESTARTS='x'"),
        ("-1", "5", "SVC_MAX_RESTARTS='-1'"),
        ("1.5", "5", "SVC_MAX_RESTARTS='1.5'"),
        ("1", "nan", "SVC_RESTART_DELAY='nan'"),
        ("1", "inf", "SVC_RESTART_DELAY='inf'"),
        ("1", "", "SVC_RESTART_DELAY=''"),
    ],
)
def test_a_value_that_is_no_limit_is_named(max_restarts, delay, named):
    with pytest.raises(ValueError, match=named):
        limits({"SVC_MAX_RESTARTS": max_restarts, "SVC_RESTART_DELAY": delay})
