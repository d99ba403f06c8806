import pytest
from hypothesis import given
from hypothesis import strategies as st

from svc.base.errors import RateLimited
from svc.router.balance.request_queue import RequestQueue, Waiter


def was_woken(waiter: Waiter) -> bool:
    """Return whether the waiter was woken since the last call."""
    woken = waiter._event.is_set()  # noqa: SLF001
    waiter._event.clear()  # noqa: SLF001
    return woken


def test_requests_are_served_in_the_order_of_arrival():
    queue = RequestQueue(9)
    a, b, c = (queue.join("m", 10, 1) for _ in range(3))
    queue.wake(["m"])
    assert [was_woken(waiter) for waiter in (a, b, c)] == [True, False, False]
    queue.leave("m", a)
    assert [was_woken(waiter) for waiter in (b, c)] == [True, False]
    assert queue.is_first("m", b)
    assert queue.lengths() == {"m": 2}


def test_leaving_the_middle_keeps_the_order_of_the_others():
    queue = RequestQueue(9)
    a, b, c = (queue.join("m", 10, 1) for _ in range(3))
    queue.leave("m", b)
    assert queue.is_first("m", a)
    queue.leave("m", a)
    assert queue.is_first("m", c)


def test_the_first_waiter_of_each_model_wakes_in_order_of_arrival(monkeypatch: pytest.MonkeyPatch):
    """On an instance with several models, no model's requests starve those of another."""
    queue, order = RequestQueue(9), []
    monkeypatch.setattr(Waiter, "wake", lambda waiter: order.append(waiter))
    waiters = [queue.join(model, 10, 1) for model in ("b", None, "a")]
    queue.wake(["a", "b", "c", None])
    assert order == waiters


def test_a_full_queue_refuses_with_retry_after():
    queue = RequestQueue(2)
    queue.join("a", 10, 1)
    waiter = queue.join("b", 10, 1)
    with pytest.raises(RateLimited, match="queue is full") as caught:
        queue.join("a", 10, 7)
    assert caught.value.retry_after == 7
    queue.leave("b", waiter)
    queue.join("a", 10, 1)


def test_a_waiter_expires_at_its_deadline():
    queue = RequestQueue(9)
    early, late = queue.join("m", 10, 1), queue.join("m", 11, 1)
    queue.expire(10)
    assert (early.expired, late.expired) == (True, False)
    assert was_woken(early)
    assert not was_woken(late)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.integers(0, 9))))
def test_the_queue_counts_exactly_those_that_wait(steps: list[tuple[str, bool, int]]):
    queue, waiting = RequestQueue(5), []
    for model, joins, at in steps:
        if joins and len(waiting) < 5:
            waiting.append((model, queue.join(model, 10, 1)))
        elif not joins and waiting:
            queue.leave(*waiting.pop(at % len(waiting)))
        assert queue.waiting == len(waiting) == sum(queue.lengths().values())
        for model in "abc":
            own = [waiter for m, waiter in waiting if m == model]
            assert queue.must_wait(model) is bool(own)
            assert not own or queue.is_first(model, own[0])
    for model, waiter in waiting:
        queue.leave(model, waiter)
    assert queue.lengths() == {}
