import os
import select

import pytest

from svc.router.http.sockets import readable
from svc.router.workers import shared_counts
from svc.router.workers.shared_counts import (
    HOLDER,
    LAST_TICKET,
    TOTAL,
    ProcessLock,
    SharedCounts,
    becomes_true,
    count_below,
)
from tests.unit.router.workers.examples import process
from tests.unit.router.workers.lock_holder import holding_process, waiting_process


@pytest.fixture
def counts() -> SharedCounts:
    return SharedCounts(3)


def woken(counts: SharedCounts) -> bool:
    """Return whether another process has woken this one since the last call."""
    return bool(readable([counts.wakeup()])) and os.eventfd_read(counts.wakeup()) > 0


def test_every_process_counts_in_the_row_of_the_same_name(counts: SharedCounts):
    first, second = process(counts, 1), process(counts, 2)
    first.row("instance a")[1] += 2
    second.row("instance b")[2] += 5
    second.row("instance a")[2] += 3
    assert first.row("instance a").tolist() == [0, 2, 3]
    assert first.row("instance b").tolist() == [0, 0, 5]


def test_counts_and_common_values_of_the_same_name_are_apart(counts: SharedCounts):
    counts.common("x")[0] = 7
    assert counts.row("x").tolist() == [0, 0, 0]
    assert process(counts, 1).common("x").tolist() == [7, 0]


def test_the_counts_of_an_ended_process_are_zero_and_the_others_stay(counts: SharedCounts):
    killed, other = process(counts, 1), process(counts, 2)
    for own in (killed, other):
        own.row("instance a")[own.slot] = 4
        own.waiting[own.slot] = 2
    counts.queue[TOTAL], counts.queue[LAST_TICKET] = 4, 9
    counts.clear(1)
    assert other.row("instance a").tolist() == [0, 0, 4]
    assert (counts.queue[TOTAL], counts.queue[LAST_TICKET]) == (2, 9), "tickets go on ascending"


@pytest.mark.parametrize(("holder", "left"), [(1, 0), (2, 3)])
def test_an_ended_process_frees_the_reserve_only_if_it_holds_it(counts: SharedCounts, holder: int, left: int):
    counts.reserve[HOLDER] = holder + 1
    counts.clear(1)
    assert counts.reserve[HOLDER] == left


def test_the_end_of_a_process_wakes_all_others(counts: SharedCounts):
    counts.clear(1)
    assert [woken(process(counts, slot)) for slot in range(3)] == [True, True, True]


def test_a_process_is_woken_once_however_often_it_was_meant(counts: SharedCounts):
    first, second = process(counts, 1), process(counts, 2)
    first.wake([2])
    first.wake([2])
    assert not woken(first)
    assert woken(second)
    assert not woken(second)


def test_a_killed_process_keeps_no_lock():
    lock = ProcessLock()
    with holding_process(lock) as other:
        assert not lock.try_acquire()
        other.kill()
        with lock:
            pass
    lock.close()


def test_a_nested_lock_is_held_until_the_outer_one_ends():
    lock = ProcessLock()
    with lock:
        with lock:
            pass
        assert lock.try_acquire()
        lock.release()
        with waiting_process(lock) as other:
            poll = select.poll()
            poll.register(other.stdout, select.POLLIN)
            assert not poll.poll(300)
    lock.close()


def test_the_lock_reports_which_other_process_holds_it():
    lock = ProcessLock()
    with lock:
        assert lock.holder() == 0, "the process itself"
    with holding_process(lock) as other:
        assert lock.holder() == other.pid
        other.kill()
        other.wait()
        assert lock.holder() == 0
    lock.close()


def test_far_from_a_limit_a_process_counts_without_the_lock(counts: SharedCounts):
    row = counts.row("instance a")
    with holding_process(counts.lock):
        taken = [count_below(row, 1 + number % 2, limit=10) for number in range(9)]
    assert taken == [True] * 7 + [False] * 2, "as many places are left to the lock as there are processes"
    assert row.tolist() == [0, 4, 3]


class SuspendedRow(list[int]):
    """A row that other processes fill while a process is suspended between its first sum and its count."""

    def __setitem__(self, slot: int, count: int) -> None:  # type: ignore[override]
        if count > self[slot]:
            super().__setitem__(2, 10)
        super().__setitem__(slot, count)


def test_what_others_count_while_a_process_is_suspended_is_not_exceeded():
    row = SuspendedRow([0, 0, 0])
    assert not count_below(row, 1, limit=10)
    assert row == [0, 0, 10]


def test_a_count_that_another_process_corrects_meanwhile_refuses_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shared_counts, "GRACE_SECONDS", 30.0)  # a busy machine may need longer for two rounds
    values = iter([False, False, True])
    assert becomes_true(lambda: next(values))


def test_a_limit_that_stays_reached_is_noticed():
    assert not becomes_true(lambda: False)
