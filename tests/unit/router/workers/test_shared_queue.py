import os

import pytest

from svc.base.errors import RateLimited
from svc.router.balance.account import Account
from svc.router.balance.request_queue import Waiter
from svc.router.http.sockets import readable
from svc.router.workers.shared_counts import SharedCounts
from svc.router.workers.shared_queue import SharedQueue, lengths, oldest
from tests.unit.router.workers.examples import process

SIZE = 4
MODELS = frozenset({"m", "n"})


@pytest.fixture
def counts() -> SharedCounts:
    return SharedCounts(3)


def queue(counts: SharedCounts, slot: int, free_places: int = 0) -> SharedQueue:
    own = SharedQueue(SIZE, process(counts, slot), lambda model: free_places)
    own.models = MODELS
    return own


@pytest.fixture
def queues(counts: SharedCounts) -> list[SharedQueue]:
    """The queues of two processes."""
    return [queue(counts, slot) for slot in (1, 2)]


def join(own: SharedQueue, model: str | None = "m", ordered: bool = True) -> Waiter:
    """Let a request wait, as one that has seen that it is not its turn."""
    waiter = own.join(model, 10, 1, ordered)
    assert was_woken(waiter), "a place may have become free meanwhile"
    return waiter


def fair_join(own: SharedQueue, account: Account, expected: int = 100, model: str | None = "m") -> Waiter:
    charge = own.new_charge(account, model, 0.0, 100)
    charge.expected = expected
    waiter = own.join(model, 10, 1, charge=charge)
    was_woken(waiter)
    return waiter


def was_woken(waiter: Waiter) -> bool:
    woken = waiter._event.is_set()  # noqa: SLF001
    waiter._event.clear()  # noqa: SLF001
    return woken


def woken_processes(counts: SharedCounts) -> list[int]:
    """Return the slots of the processes that were woken since the last call."""
    descriptors = [process(counts, slot).wakeup() for slot in range(counts.processes)]
    woken = readable(descriptors)
    for descriptor in woken:
        os.eventfd_read(descriptor)
    return [slot for slot, descriptor in enumerate(descriptors) if descriptor in woken]


def test_the_request_that_waits_longest_is_first_in_whichever_process(queues):
    first, second = queues
    early, late, last = join(second), join(first), join(second)
    assert [second.is_first("m", early), first.is_first("m", late), second.is_first("m", last)] == [True, False, False]
    second.leave("m", early)
    assert [first.is_first("m", late), second.is_first("m", last)] == [True, False]
    first.leave("m", late)
    assert second.is_first("m", last)


def test_a_new_request_waits_behind_those_of_other_processes(queues):
    first, second = queues
    join(first)
    join(first, None)
    assert (second.must_wait("m"), second.must_wait("n"), second.must_wait(None)) == (True, False, True)


def test_names_of_models_that_no_instance_has_take_no_memory(counts: SharedCounts, queues):
    first, _ = queues
    before = len(counts._counts.all_rows())  # noqa: SLF001
    for number in range(100):
        assert not first.must_wait(f"invented {number}")
    assert len(counts._counts.all_rows()) == before  # noqa: SLF001


def test_the_queues_of_all_processes_have_one_limit(queues):
    first, second = queues
    waiters = [join(own, model) for own in queues for model in ("m", "n")]
    with pytest.raises(RateLimited, match="queue is full") as caught:
        first.join("m", 10, 7)
    assert caught.value.retry_after == 7
    second.leave("n", waiters[-1])
    join(first)
    assert first.waiting == second.waiting == SIZE


def test_a_full_queue_takes_as_many_more_as_there_are_free_places(counts: SharedCounts):
    """The requests for these places wait still: they have been woken, and have not run yet."""
    own = queue(counts, 1, free_places=2)
    for _ in range(SIZE + 2):
        join(own)
    with pytest.raises(RateLimited):
        join(own)


def test_a_refused_request_leaves_no_trace(queues):
    first, second = queues
    waiters = [join(first) for _ in range(SIZE)]
    with pytest.raises(RateLimited):
        second.join("m", 10, 1)
    for waiter in waiters:
        first.leave("m", waiter)
    assert (first.waiting, first.must_wait("m"), first.first_rank("m")) == (0, False, None)


def test_leaving_twice_counts_once(queues):
    """A request leaves when it gets its instance, and again when its wait ends."""
    first, second = queues
    waiter, other = join(first), join(second)
    first.leave("m", waiter)
    first.leave("m", waiter)
    assert first.waiting == 1
    assert second.is_first("m", other)


def test_a_free_place_wakes_the_first_in_the_process_where_it_waits(counts: SharedCounts, queues):
    first, second = queues
    early, late = join(second), join(first)
    first.wake(["m", None])
    assert woken_processes(counts) == [2]
    assert not was_woken(late)
    second.wake(["m", None])
    assert woken_processes(counts) == []
    assert was_woken(early)


def test_the_end_of_a_wait_passes_the_turn_to_the_other_process(counts: SharedCounts, queues):
    first, second = queues
    early, late = join(first), join(first, "n")
    join(second)
    first.leave("m", early)
    assert woken_processes(counts) == [2]
    assert was_woken(late), "models may share an instance"


def test_requests_in_no_line_neither_wait_behind_others_nor_delay_them(counts: SharedCounts, queues):
    first, second = queues
    retry = join(second, ordered=False)
    assert not first.must_wait("m")
    waiter = join(first)
    assert second.is_first("m", retry)
    assert first.is_first("m", waiter)
    first.wake(["n"])
    assert woken_processes(counts) == [2], "its process decides"
    second.leave("m", retry)
    assert second.waiting == 1
    woken_processes(counts)
    first.wake(["n"])
    assert woken_processes(counts) == []


def test_the_turn_of_a_killed_process_passes_on(counts: SharedCounts, queues):
    killed, other = queues
    join(killed)
    join(killed, ordered=False)
    waiter = join(other)
    assert not other.is_first("m", waiter)
    counts.clear(1)
    assert other.is_first("m", waiter)
    assert other.waiting == 1
    other.expire(5)
    assert was_woken(waiter)
    assert not waiter.expired


def test_a_wait_ends_at_its_deadline(queues):
    first, _ = queues
    early, late = first.join("m", 10, 1), first.join("m", 11, 1)
    first.expire(10)
    assert (early.expired, late.expired) == (True, False)


def test_the_lengths_are_those_of_all_processes(counts: SharedCounts, queues):
    first, second = queues
    waiter = join(first, "m")
    join(second, "m", ordered=False)
    join(second, None)
    assert lengths(counts, MODELS) == {"m": 2, None: 1}
    first.leave("m", waiter)
    assert lengths(counts, MODELS) == {"m": 1, None: 1}


A, B = Account("a"), Account("b")
BATCH = Account("batch", priority=-2)


def test_the_oldest_request_is_that_of_all_processes(counts: SharedCounts, queues):
    first, second, refused = join(queues[0]), join(queues[1]), join(queues[1], "n", ordered=False)
    first.since, second.since, refused.since = 120.0, 90.5, 100.0
    for own in queues:
        own.expire(1)
    assert oldest(counts, MODELS) == {"m": 90.5, "n": 100.0}
    queues[1].leave("m", second)
    queues[1].leave("n", refused)
    queues[1].expire(1)
    assert oldest(counts, MODELS) == {"m": 120.0}


def test_the_account_with_the_least_service_has_its_turn_in_whichever_process(queues):
    first, second = queues
    flood = [fair_join(first, A) for _ in range(2)]
    first.serve("m", flood[0])
    light = fair_join(second, B)
    assert second.is_first("m", light)
    assert not first.is_first("m", flood[1])
    second.serve("m", light)
    assert first.is_first("m", flood[1])


def test_requests_of_one_account_keep_their_order_over_the_processes(queues):
    first, second = queues
    early, late = fair_join(first, A), fair_join(second, A)
    assert [first.is_first("m", early), second.is_first("m", late)] == [True, False]
    assert second.must_wait("m", second.new_charge(A, "m", 0.0, 1))


def test_a_new_request_of_an_account_with_less_service_need_not_wait(queues):
    first, second = queues
    waiter = fair_join(first, A)
    first.serve("m", waiter)
    fair_join(first, A)
    assert not second.must_wait("m", second.new_charge(B, "m", 0.0, 1))
    assert second.must_wait("m", second.new_charge(A, "m", 0.0, 1))
    assert second.must_wait("m", second.new_charge(BATCH, "m", 0.0, 1))


def test_a_process_that_has_lost_its_turn_wakes_the_one_that_has_it(counts: SharedCounts, queues):
    first, second = queues
    served = fair_join(first, B, expected=50)
    mine, other = fair_join(second, A), fair_join(first, B)
    first.serve("m", served)
    woken_processes(counts)
    assert second.is_first("m", mine), "A has had nothing, B was charged with 50 tokens"
    charge = second.new_charge(A, "m", 0.0, 1)
    second.order.charge(charge, 900)  # a running request of A has used more than was expected
    second.order.flush()
    assert not second.is_first("m", mine)
    assert woken_processes(counts) == [1]
    assert first.is_first("m", other)


def test_higher_priorities_go_first_in_whichever_process(queues):
    first, second = queues
    batch = fair_join(first, BATCH)
    normal = fair_join(second, A)
    assert [first.is_first("m", batch), second.is_first("m", normal)] == [False, True]
    assert second.first_rank("m").level == 0
    second.serve("m", normal)
    assert first.is_first("m", batch)
    assert second.first_rank("m")[:2] == (2, -2)


def test_a_killed_process_takes_no_counter_with_it(counts: SharedCounts, queues):
    killed, other = queues
    waiter = fair_join(killed, A, expected=1000)
    killed.serve("m", waiter)
    fair_join(killed, A)
    counts.clear(1)
    mine, light = fair_join(other, A), fair_join(other, B)
    assert other.is_first("m", light)
    assert not other.is_first("m", mine)
