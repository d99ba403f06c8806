import pytest

from svc.router.balance.routing_request import RoutingRequest
from svc.router.workers.departed_rows import FREE_AFTER_SECONDS, SWEEP_INTERVAL_SECONDS, DepartedRows
from svc.router.workers.shared_counts import SharedCounts
from svc.router.workers.shared_rows import COUNT, DIGESTS
from tests.unit.router.examples import target
from tests.unit.router.workers.examples import RelayingProcess, snapshot

LONG = FREE_AFTER_SECONDS + SWEEP_INTERVAL_SECONDS


@pytest.fixture
def counts() -> SharedCounts:
    return SharedCounts(3)


def named_rows(counts: SharedCounts) -> int:
    """Return how many rows of both kinds are not free."""
    kinds = (counts._counts, counts._common)  # noqa: SLF001
    return sum(sum(map(bool, rows._cells[DIGESTS : DIGESTS + rows._cells[COUNT]])) for rows in kinds)  # noqa: SLF001


def test_the_row_of_an_instance_is_freed_long_after_it_has_left(counts: SharedCounts):
    departed = DepartedRows(counts)
    departed.replace_table((target("a", "m"), target("b", "m")), 0.0)
    departed.replace_table((target("b", "m"),), 10.0)
    counts.row("turn m")[1] = counts.row("turn gone")[1] = 5
    rows = counts.row("instance a"), counts.row("instance b")
    for now in (11.0, FREE_AFTER_SECONDS):
        departed.sweep(now)
    assert counts.row("instance a") == rows[0]
    departed.sweep(10 + LONG)
    counts.row("instance c")
    counts.forget_names()
    rows[0][1] = 3  # what a process would do that has not forgotten the row
    assert sum(counts.row("instance a")) == 0, "it is another row"
    assert sum(counts.row("turn m")) == 5
    assert counts.row("instance b") == rows[1]


def test_a_request_in_flight_keeps_the_row_of_its_instance(counts: SharedCounts):
    departed = DepartedRows(counts)
    departed.replace_table((target("a", "m"),), 0.0)
    departed.replace_table((), 0.0)
    counts.row("instance a")[1] = 1
    departed.sweep(LONG)
    assert counts.row("instance a")[1] == 1
    counts.row("instance a")[1] = 0
    departed.sweep(2 * LONG)
    assert departed._departed == {}  # noqa: SLF001


def test_an_instance_that_returns_in_time_keeps_its_row(counts: SharedCounts):
    departed, row = DepartedRows(counts), counts.row("instance a")
    for targets, now in (((target("a", "m"),), 0.0), ((), 1.0), ((target("a", "m"),), 2.0)):
        departed.replace_table(targets, now)
    departed.sweep(LONG + 10)
    counts.forget_names()
    row[1] = 4
    assert counts.row("instance a")[1] == 4


def test_instances_that_come_and_go_do_not_fill_the_memory(counts: SharedCounts):
    departed, relaying = DepartedRows(counts), RelayingProcess(counts, 1, policy="round_robin")
    sizes = []
    for number in range(30):
        instance = target(f"i{number}", f"m{number}", metadata={"max_concurrency": 1})
        departed.replace_table((instance,), number * LONG)
        relaying.balancer.adopt(snapshot(instance, number=number + 2))
        chosen = relaying.balancer.pick(RoutingRequest(f"m{number}"))
        assert chosen is not None
        relaying.balancer.begin_attempt(chosen)
        relaying.balancer.end_attempt(chosen, 1.0, failed=True, ejection_reason="it failed")
        relaying.balancer.queue.leave(f"m{number}", relaying.balancer.queue.join(f"m{number}", 1.0, 1))
        departed.sweep(number * LONG)
        sizes.append(named_rows(counts))
    assert sizes[-1] == sizes[3]
