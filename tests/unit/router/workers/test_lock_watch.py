import os
import signal
from collections.abc import Iterator
from subprocess import Popen

import pytest

from svc.router.workers import lock_watch
from svc.router.workers.lock_watch import STOPPED_SECONDS, LockWatch
from svc.router.workers.shared_counts import ProcessLock
from tests.unit.router.examples import Clock
from tests.unit.router.workers.lock_holder import holding_process


@pytest.fixture
def lock() -> Iterator[ProcessLock]:
    lock = ProcessLock()
    yield lock
    lock.close()


def stop(process: "Popen[bytes]") -> None:
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)


def check_after(watch: LockWatch, clock: Clock, seconds: float) -> None:
    watch.check()
    clock.now += seconds
    watch.check()


def test_a_process_that_stays_stopped_with_the_lock_is_killed(lock, caplog):
    clock = Clock()
    watch = LockWatch(lock, clock)
    with holding_process(lock) as other:
        stop(other)
        check_after(watch, clock, STOPPED_SECONDS - 0.1)
        assert other.poll() is None
        check_after(watch, clock, 0.1)
        assert other.wait() == -signal.SIGKILL
    assert f"process {other.pid} is killed" in caplog.text
    assert lock.try_acquire()


def test_a_process_that_runs_with_the_lock_may_take_its_time(lock):
    clock = Clock()
    watch = LockWatch(lock, clock)
    with holding_process(lock) as other:
        check_after(watch, clock, 10 * STOPPED_SECONDS)
        assert other.poll() is None


def test_a_process_that_is_stopped_without_the_lock_is_left_alone(lock):
    clock, others = Clock(), ProcessLock()
    watch = LockWatch(lock, clock)
    with holding_process(others) as other:
        stop(other)
        check_after(watch, clock, 10 * STOPPED_SECONDS)
        assert other.poll() is None
    others.close()


def test_the_time_begins_anew_for_a_process_that_was_continued(lock):
    clock = Clock()
    watch = LockWatch(lock, clock)
    with holding_process(lock) as other:
        stop(other)
        watch.check()
        other.send_signal(signal.SIGCONT)
        os.waitid(os.P_PID, other.pid, os.WCONTINUED)
        check_after(watch, clock, STOPPED_SECONDS)
        stop(other)
        watch.check()
        assert other.poll() is None


def test_the_master_gets_the_lock_although_its_holder_is_stopped(lock, monkeypatch):
    monkeypatch.setattr(lock_watch, "STOPPED_SECONDS", 0.05)
    with holding_process(lock) as other:
        stop(other)
        with LockWatch(lock).locked():
            assert other.wait() == -signal.SIGKILL
