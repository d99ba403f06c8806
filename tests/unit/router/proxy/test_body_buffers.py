import math
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import pytest

from svc.base.errors import Overloaded, TooLarge
from svc.router.balance.request_queue import Waiter
from svc.router.proxy.body_buffers import STALLED_SECONDS, Allocation, BodyBuffers, select_stalled
from tests.unit.router.proxy.waiting_request import WaitingRequest


def never(place: Waiter) -> None:
    raise AssertionError("it has to wait")


@pytest.fixture
def buffers() -> BodyBuffers:
    """100 bytes, 60 of them shared: a body has up to 20, and up to 20 more when it is decoded."""
    return BodyBuffers(100, 20)


def taken(buffers: BodyBuffers, size: int, on_wait: Callable[[Waiter], None] = never) -> Allocation:
    allocation = Allocation(buffers)
    allocation.grow(size, 100.0, on_wait)
    return allocation


def test_what_is_counted_is_given_back(buffers: BodyBuffers):
    first, second = taken(buffers, 20), taken(buffers, 30)
    first.grow(25, 100.0, never)
    assert buffers.used == 55
    first.shrink(10)
    second.shrink(0)
    second.shrink(0)
    assert buffers.used == 10


def test_one_request_at_a_time_may_use_what_is_set_aside(buffers: BodyBuffers):
    first, second = taken(buffers, 30), taken(buffers, 30)
    first.grow(40, 100.0, never)
    other = WaitingRequest(second, 31)
    assert other.waits.wait(5)
    first.grow(70, 100.0, never)  # it can always finish
    assert buffers.used == 100
    first.shrink(0)
    assert other.done()
    assert other.error is None
    assert buffers.used == 31


def test_waiting_requests_are_served_in_order(buffers: BodyBuffers):
    first, held = taken(buffers, 60), taken(buffers, 1)
    large = WaitingRequest(Allocation(buffers), 40)
    assert large.waits.wait(5)
    small = WaitingRequest(Allocation(buffers), 1)
    assert small.waits.wait(5)
    held.shrink(0)
    assert large.done()
    first.shrink(0)
    assert small.done()
    assert buffers.used == 41


def test_a_wait_ends_at_its_deadline_and_names_the_setting(buffers: BodyBuffers):
    taken(buffers, 60)
    taken(buffers, 1)
    waiter = WaitingRequest(Allocation(buffers), 30, deadline=5.0)
    assert waiter.waits.wait(5)
    buffers.expire(4.9)
    assert not waiter.done(0.05)
    buffers.expire(5.0)
    assert waiter.done()
    assert isinstance(waiter.error, Overloaded)
    assert "max_buffered" in waiter.error.message
    assert waiter.error.headers() == {"Retry-After": "1"}
    assert buffers.used == 61


def test_a_client_that_leaves_leaves_the_queue(buffers: BodyBuffers):
    def leave(place: Waiter) -> None:
        raise ConnectionResetError

    first, _ = taken(buffers, 60), taken(buffers, 1)
    with pytest.raises(ConnectionResetError):
        taken(buffers, 30, leave)
    first.shrink(0)
    taken(buffers, 30)


def test_what_never_has_room_is_413():
    with pytest.raises(TooLarge, match="max_buffered"):
        taken(BodyBuffers(100, 100), 101)


def test_requests_that_are_half_there_all_finish():
    """Far more than there is room for, in small steps, each waiting where it must."""
    buffers = BodyBuffers(100, 20)
    most = [0]

    def body() -> None:
        allocation = Allocation(buffers)
        for size in range(1, 21):
            allocation.grow(size, 100.0, lambda place: None)
            most[0] = max(most[0], buffers.used)
            time.sleep(0)
        allocation.shrink(0)

    threads = [threading.Thread(target=body, daemon=True) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert buffers.used == 0
    assert most[0] <= 100


class Body(NamedTuple):
    address: str
    buffered_bytes: int = 100
    stalled_since: float = 0.0


def test_a_stalled_body_of_the_largest_client_is_ended_first():
    large, small = Body("10.0.0.9", 50), Body("10.0.0.1", 80)
    arriving = Body("10.0.0.9", 40, STALLED_SECONDS)
    assert select_stalled([small, large, arriving], STALLED_SECONDS) is large
    assert select_stalled([small, arriving], STALLED_SECONDS) is small
    assert select_stalled([arriving, Body("10.0.0.9", 90, math.inf)], STALLED_SECONDS) is None


def test_an_ipv6_network_is_one_client():
    bodies = [Body("10.0.0.1", 80), Body("2001:db8::1", 50), Body("2001:db8::2", 50)]
    assert select_stalled(bodies, STALLED_SECONDS) is bodies[1]
