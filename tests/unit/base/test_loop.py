"""A loop runs its work again and again, after the pause that the work returns."""

import threading

from svc.base.errors import Unavailable
from svc.base.loop import Loop
from tests.waiting import wait_until

NEVER = 1000.0


def run(work, interval=NEVER):
    """Run the work once, as the loop does; return the seconds until its next run."""
    return Loop("test", work, interval)._run_round()


def test_the_work_returns_its_next_pause():
    assert run(lambda: 7.0) == 7.0


def test_work_without_a_pause_is_run_after_the_interval():
    assert run(lambda: None) == NEVER


def test_a_failure_is_logged_and_the_work_runs_again_after_the_interval(caplog):
    def fail(error):
        raise error

    assert run(lambda: fail(Unavailable("cannot reach the registry"))) == NEVER
    assert run(lambda: fail(ZeroDivisionError())) == NEVER
    expected, unexpected = caplog.records
    assert expected.getMessage() == f"test: cannot reach the registry; trying again in {NEVER} s"
    assert unexpected.exc_info is not None


def test_wake_starts_the_next_round_at_once_and_stop_ends_the_loop():
    runs = threading.Semaphore(0)
    loop = Loop("test", lambda: runs.release(), NEVER)
    loop.start()
    assert runs.acquire(timeout=10)
    loop.wake()
    assert runs.acquire(timeout=10)
    loop.stop()
    wait_until(lambda: not loop._thread.is_alive())
