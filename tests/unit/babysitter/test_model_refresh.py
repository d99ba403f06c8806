"""Looks on demand are shared and limited, and a caller never gets an older list than it asked for."""

import threading

import pytest

from svc.babysitter.model_refresh import MAX_WAITING_CALLERS, Refresh
from svc.base.errors import RateLimited
from tests.waiting import wait_until


class Engine:
    """A look at it takes `seconds` of the clock."""

    def __init__(self, seconds: float = 0.1) -> None:
        self.now, self.seconds, self.looks = 100.0, seconds, []
        self.refresh = Refresh(self.look, lambda: self.now, self.sleep, interval=1.0)

    def look(self) -> None:
        self.looks.append(self.now)
        self.now += self.seconds

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_the_first_caller_looks_at_once():
    engine = Engine()
    engine.refresh()
    assert engine.looks == [100.0]


def test_there_is_at_most_one_look_a_second():
    engine = Engine()
    for _ in range(3):
        engine.refresh()
    assert engine.looks == [100.0, 101.0, 102.0]


def test_a_look_long_ago_is_waited_for_no_more():
    engine = Engine()
    engine.refresh()
    engine.now = 200.0
    engine.refresh()
    assert engine.looks == [100.0, 200.0]


def test_callers_that_come_during_a_look_share_the_next_one():
    begun, may_end, looks = threading.Event(), threading.Event(), []

    def look() -> None:
        looks.append(len(looks))
        begun.set()
        assert may_end.wait(10)

    reads: list[None] = []

    def clock() -> float:
        reads.append(None)
        return float(len(reads))

    refresh = Refresh(look, clock, interval=0)
    threads = [threading.Thread(target=refresh) for _ in range(6)]
    threads[0].start()
    assert begun.wait(10)
    for thread in threads[1:]:
        thread.start()
    wait_until(lambda: len(reads) == 8)  # three times for the look, and once as each of the five came
    may_end.set()
    for thread in threads:
        thread.join(10)
    assert len(looks) == 2  # the first is too old for the other five


def test_more_callers_than_may_wait_are_refused_at_once():
    begun, may_end = threading.Semaphore(0), threading.Event()
    refresh = Refresh(lambda: begun.release() or may_end.wait(10), interval=0)
    threads = [threading.Thread(target=refresh) for _ in range(MAX_WAITING_CALLERS)]
    for thread in threads:
        thread.start()
    assert begun.acquire(timeout=10)
    wait_until(lambda: refresh._places._value == 0)
    with pytest.raises(RateLimited):
        refresh()
    may_end.set()
    for thread in threads:
        thread.join(10)
    refresh()
