"""When an instance that gives way may be put to sleep."""

from svc.babysitter.health_rules import MAX_DRAIN_SECONDS
from svc.babysitter.on_demand.release import SETTLE_SECONDS, Release


def results(*readings):
    """Return what is decided at each reading: (accepted by the registry, requests in flight, seconds)."""
    release = Release(0.0)
    return [release.is_over(*reading) for reading in readings]


def test_it_sleeps_after_two_readings_without_requests():
    assert results((True, 0, 1.0), (True, 0, 1.1 + SETTLE_SECONDS)) == [False, True]


def test_it_stays_awake_until_the_time_in_which_routers_learn_of_it_has_passed():
    assert results((True, 0, 1.0), (True, 0, 1.1), (True, 0, 1.2)) == [False] * 3


def test_it_does_not_sleep_while_the_registry_has_not_accepted_its_drain():
    assert results(*((False, 0, float(second)) for second in range(100))) == [False] * 100


def test_readings_before_the_registry_knew_do_not_count():
    assert results((False, 0, 1.0), (False, 0, 2.0), (True, 0, 3.0), (True, 0, 3.1)) == [False] * 4


def test_a_request_that_arrives_late_begins_the_wait_anew():
    readings = ((True, 0, 1.0), (True, 1, 1.3), (True, 0, 1.5), (True, 0, 1.6), (True, 0, 1.6 + SETTLE_SECONDS))
    assert results(*readings) == [False, False, False, False, True]


def test_a_long_answer_is_waited_for():
    assert results(*((True, 1, float(second)) for second in range(1000))) == [False] * 1000


def test_an_instance_whose_requests_cannot_be_counted_drains_for_the_longest_time():
    assert results((True, None, 1.0), (True, None, MAX_DRAIN_SECONDS), (True, None, 1.0 + MAX_DRAIN_SECONDS)) == [
        False,
        False,
        True,
    ]


def test_a_reading_that_fails_after_a_long_drain_does_not_end_it():
    assert results((True, 1, 1.0), (True, None, 100.0), (True, 0, 100.5), (True, None, 101.0)) == [False] * 4
