import pytest

from svc.supervision.restart_limits import RestartCount, RestartLimits, after_exit, after_start, read_limits


def lifetime(limits: RestartLimits) -> list[float]:
    """The delays of a program that dies whenever it runs, until it is given up."""
    count, delays = after_start(RestartCount(7, failed=True), requested=True), []
    while True:
        count, delay = after_exit(count, limits)
        if delay is None:
            assert count == RestartCount(limits.max_restarts, failed=True)
            return delays
        delays.append(delay)
        count = after_start(count, requested=False)


@pytest.mark.parametrize("max_restarts", [0, 1, 2, 50])
def test_a_program_is_given_up_after_exactly_max_restarts(max_restarts):
    assert lifetime(RestartLimits(max_restarts, 1.5)) == [1.5] * max_restarts


def test_a_requested_start_resets_the_count():
    assert after_start(RestartCount(9, failed=True), requested=True) == RestartCount(0, failed=False)


def test_an_exit_is_not_yet_a_restart():
    count, delay = after_exit(RestartCount(3), RestartLimits(10, 5))
    assert (count, delay) == (RestartCount(3), 5)
    assert after_start(count, requested=False) == RestartCount(4)


def test_the_reason_of_an_exit_is_kept_until_a_requested_start():
    count, _ = after_exit(RestartCount(), RestartLimits(10, 5), reason="hung")
    assert after_start(count, requested=False) == RestartCount(1, reason="hung")
    assert after_start(count, requested=True) == RestartCount()


def test_no_program_is_given_up_while_supervisord_shuts_down():
    count, delay = after_exit(RestartCount(2), RestartLimits(2, 5), shutting_down=True)
    assert not count.failed
    assert delay is not None


def test_limits_are_read_from_the_environment():
    assert read_limits({"SVC_MAX_RESTARTS": "3", "SVC_RESTART_DELAY": "0.25"}) == RestartLimits(3, 0.25)
    assert read_limits({"SVC_MAX_RESTARTS": "0", "SVC_RESTART_DELAY": "0"}) == RestartLimits(0, 0)


@pytest.mark.parametrize("environment", [None, {}, {"PATH": "/bin"}, {"SVC_RESTART_DELAY": "5"}])
def test_programs_without_a_limit_are_not_managed(environment):
    assert read_limits(environment) is None


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
def test_an_invalid_limit_is_named(max_restarts, delay, named):
    with pytest.raises(ValueError, match=named):
        read_limits({"SVC_MAX_RESTARTS": max_restarts, "SVC_RESTART_DELAY": delay})
