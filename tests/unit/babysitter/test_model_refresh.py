"""Refreshes on demand are shared and limited, and a caller never gets an older list than it requested."""

import threading

import pytest

from svc.babysitter.model_refresh import MAX_WAITING_CALLERS, ModelRefresh
from svc.base.errors import RateLimited
from tests.waiting import wait_until


class Engine:
    """A read of its model list takes `seconds` of the clock."""

    def __init__(self, seconds: float = 0.1) -> None:
        self.now, self.seconds, self.reads = 100.0, seconds, []
        self.refresh = ModelRefresh(self.read, lambda: self.now, self.sleep, interval=1.0)

    def read(self) -> None:
        self.reads.append(self.now)
        self.now += self.seconds

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_the_first_caller_refreshes_at_once():
    engine = Engine()
    engine.refresh()
    assert engine.reads == [100.0]


def test_there_is_at_most_one_refresh_a_second():
    engine = Engine()
    for _ in range(3):
        engine.refresh()
    assert engine.reads == [100.0, 101.0, 102.0]


def test_an_old_refresh_delays_no_caller():
    engine = Engine()
    engine.refresh()
    engine.now = 200.0
    engine.refresh()
    assert engine.reads == [100.0, 200.0]


def test_callers_during_a_refresh_share_the_next_one():
    began, may_end, reads = threading.Event(), threading.Event(), []

    def read() -> None:
        reads.append(len(reads))
        began.set()
        assert may_end.wait(10)

    clock_reads: list[None] = []

    def clock() -> float:
        clock_reads.append(None)
        return float(len(clock_reads))

    refresh = ModelRefresh(read, clock, interval=0)
    threads = [threading.Thread(target=refresh) for _ in range(6)]
    threads[0].start()
    assert began.wait(10)
    for thread in threads[1:]:
        thread.start()
    wait_until(lambda: len(clock_reads) == 8)  # three times for the first read, and once for each of the five callers
    may_end.set()
    for thread in threads:
        thread.join(10)
    assert len(reads) == 2  # the first is too old for the other five


def test_more_callers_than_may_wait_are_refused_at_once():
    began, may_end = threading.Semaphore(0), threading.Event()
    refresh = ModelRefresh(lambda: began.release() or may_end.wait(10), interval=0)
    threads = [threading.Thread(target=refresh) for _ in range(MAX_WAITING_CALLERS)]
    for thread in threads:
        thread.start()
    assert began.acquire(timeout=10)
    wait_until(lambda: refresh._places._value == 0)
    with pytest.raises(RateLimited):
        refresh()
    may_end.set()
    for thread in threads:
        thread.join(10)
    refresh()
