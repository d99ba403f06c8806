import pytest

from svc.base.errors import Overloaded
from svc.router.balance.request_queue import Waiter
from svc.router.proxy.body_buffers import Allocation
from svc.router.workers.shared_buffers import SharedBodyBuffers
from svc.router.workers.shared_counts import SharedCounts
from tests.unit.router.proxy.waiting_request import WaitingRequest
from tests.unit.router.workers.examples import process


class HadToWait(Exception):
    pass


def refuse(waiter: Waiter) -> None:
    raise HadToWait


@pytest.fixture
def counts() -> SharedCounts:
    return SharedCounts(3)


@pytest.fixture
def buffers(counts: SharedCounts) -> list[SharedBodyBuffers]:
    """Those of two processes: 100 bytes, and 40 of them are the reserve."""
    return [SharedBodyBuffers(100, 20, process(counts, slot)) for slot in (1, 2)]


def allocate(own: SharedBodyBuffers, size: int) -> Allocation:
    """Return an allocation of this size; raise HadToWait if it is not possible at once."""
    allocation = Allocation(own)
    allocation.grow(size, 100.0, refuse)
    return allocation


def test_the_bodies_of_all_processes_have_one_limit_and_one_reserve(buffers):
    first, second = buffers
    body = allocate(first, 30)
    allocate(second, 30)
    allocate(second, 40)  # the reserve
    assert first.used == second.used == 100
    with pytest.raises(HadToWait):
        body.grow(31, 100.0, refuse)
    with pytest.raises(HadToWait):
        allocate(first, 1)
    assert first.used == 100


def test_a_request_with_the_reserve_finishes_and_passes_it_on(buffers):
    first, second = buffers
    large, other = allocate(first, 30), allocate(second, 30)
    large.grow(50, 100.0, refuse)
    with pytest.raises(HadToWait):
        other.grow(31, 100.0, refuse)
    large.grow(70, 100.0, refuse)
    large.shrink(0)
    other.grow(70, 100.0, refuse)


def test_a_process_loses_the_reserve_once_nothing_of_it_is_in_use(buffers):
    first, second = buffers
    large, small, other = allocate(first, 30), allocate(second, 30), allocate(second, 0)
    large.grow(40, 100.0, refuse)
    small.shrink(10)  # 50 bytes are in use: nothing of the reserve
    other.grow(50, 100.0, refuse)
    with pytest.raises(HadToWait):
        large.grow(41, 100.0, refuse)


def test_memory_that_one_process_frees_goes_to_a_request_of_another(buffers):
    first, second = buffers
    held, rest = allocate(first, 60), allocate(first, 40)
    waiting = WaitingRequest(Allocation(second), 30)
    assert waiting.waits.wait(5)
    held.shrink(0)
    rest.shrink(0)
    second.expire(0)  # ten times a second
    assert waiting.done()
    assert waiting.error is None
    assert first.used == 30


def test_a_wait_ends_at_its_deadline_and_counts_nothing(buffers):
    first, second = buffers
    allocate(first, 100)
    waiting = WaitingRequest(Allocation(second), 30, deadline=5.0)
    assert waiting.waits.wait(5)
    second.expire(5.0)
    assert waiting.done()
    assert isinstance(waiting.error, Overloaded)
    assert first.used == 100


def test_a_killed_process_frees_its_memory_and_the_reserve(counts: SharedCounts, buffers):
    killed, other = buffers
    allocate(killed, 60)
    allocate(killed, 40)
    counts.clear(1)
    assert other.used == 0
    allocate(other, 100)
