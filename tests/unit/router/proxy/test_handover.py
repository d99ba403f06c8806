"""Which streams of an instance that hands over are moved, and how many at a time."""

from collections.abc import Sequence
from typing import Any

import pytest

from svc.router.balance.continuing_instances import FreePlaces
from svc.router.proxy.attempt import Attempt
from svc.router.proxy.handover import MAX_MOVING_STREAMS, Handover
from tests.unit.router.examples import state, target

CONTINUES = {"continues": True}
A = target("a", "m", drained=True, handover=True)
B = target("b", "m", metadata=CONTINUES)


class FakeExchange:
    """A request at an instance, which records that it was interrupted."""

    def __init__(
        self, instance: Any = A, reason: str = "", stream: object = "stream", proof: str = "continues"
    ) -> None:
        self.attempt: Attempt | None = Attempt(instance, 0.0, False)
        self.instance = instance.name
        self.model: str | None = "m"
        self.stream = stream
        self.interruption = ""
        self.closed = False
        self.proof = proof
        self.reason = reason
        self.judgements = 0

    def take_place(self, places: FreePlaces) -> str:
        self.judgements += 1
        return self.reason or ("" if places.take(self.model, self.proof, (self.instance,)) else "instance")

    def interrupt(self, reason: str) -> None:
        assert not self.interruption
        self.interruption = reason


def moved(exchanges: Sequence[FakeExchange]) -> int:
    return sum(exchange.interruption == "handover" for exchange in exchanges)


def run(exchanges: Sequence[FakeExchange], *targets: Any) -> dict[tuple[str, str], int]:
    router = state(*(targets or (A, B)))
    return Handover(router.balancer).move(exchanges)


def test_streams_that_may_be_continued_are_moved_and_all_others_stay():
    free, tool_call, unanswered = FakeExchange(), FakeExchange(reason="tool_call"), FakeExchange(stream=None)
    elsewhere = FakeExchange(B)
    counts = run([free, tool_call, unanswered, elsewhere])
    assert counts == {("a", "moving"): 1, ("a", "tool_call"): 1, ("a", "not_streamed"): 1}
    assert [e.interruption for e in (free, tool_call, unanswered, elsewhere)] == ["handover", "", "", ""]


@pytest.mark.parametrize(
    "other",
    [
        target("b", "m"),
        target("b", "other", metadata=CONTINUES),
        target("b", "m", metadata=CONTINUES, drained=True),
        target("b", "m", metadata=CONTINUES, status="starting"),
        target("b", "m", metadata=CONTINUES, healthy=False),
    ],
)
def test_nothing_is_moved_if_no_other_instance_continues(other: Any):
    exchange = FakeExchange()
    assert run([exchange], A, other) == {("a", "engine"): 1}
    assert not exchange.interruption


def test_nothing_is_moved_without_a_handover():
    exchange = FakeExchange()
    for instance in (target("a", "m"), target("a", "m", drained=True)):
        assert run([exchange], instance, B) == {}
    assert not exchange.interruption


def test_half_of_the_free_places_are_used_at_a_time():
    limited = target("b", "m", metadata={**CONTINUES, "max_concurrency": 8})
    router = state(A, limited)
    for _ in range(3):
        router.balancer.begin_attempt(limited)
    exchanges = [FakeExchange() for _ in range(10)]
    counts = Handover(router.balancer).move(exchanges)
    assert (moved(exchanges), counts) == (3, {("a", "moving"): 3, ("a", "instance"): 7})
    for _ in range(5):
        router.balancer.begin_attempt(limited)
    exchanges = [FakeExchange()]
    assert Handover(router.balancer).move(exchanges) == {("a", "instance"): 1}


def test_the_places_of_all_other_instances_are_used():
    others = [target(name, "m", metadata={**CONTINUES, "max_concurrency": 2}) for name in "bc"]
    exchanges = [FakeExchange() for _ in range(3)]
    assert run(exchanges, A, *others) == {("a", "moving"): 2, ("a", "instance"): 1}


def test_only_some_streams_move_at_the_same_time():
    exchanges = [FakeExchange() for _ in range(MAX_MOVING_STREAMS + 5)]
    counts = run(exchanges)
    assert (moved(exchanges), counts) == (MAX_MOVING_STREAMS, {("a", "moving"): len(exchanges)})
    for exchange in exchanges[:3]:  # they are at the other instance now
        exchange.interruption, exchange.attempt, exchange.instance = "", Attempt(B, 0.0, False), "b"
    run(exchanges)
    assert moved(exchanges) == MAX_MOVING_STREAMS


def test_a_stream_that_waits_for_its_new_instance_counts_as_moving():
    exchange = FakeExchange()
    exchange.interruption, exchange.attempt = "handover", None
    assert run([exchange]) == {("a", "moving"): 1}


def test_a_request_that_has_ended_does_not_count():
    exchange = FakeExchange()
    exchange.interruption, exchange.attempt, exchange.closed = "handover", None, True
    assert run([exchange]) == {}


def test_an_interrupted_request_is_not_moved():
    exchange = FakeExchange()
    exchange.interruption = "client"
    assert run([exchange]) == {}
    assert exchange.interruption == "client"


def test_a_request_that_stays_is_judged_once_unless_the_reason_passes():
    tool_call, reasoning = FakeExchange(reason="tool_call"), FakeExchange(reason="reasoning")
    handover = Handover(state(A, B).balancer)
    for _ in range(3):
        counts = handover.move([tool_call, reasoning])
    assert counts == {("a", "tool_call"): 1, ("a", "reasoning"): 1}
    assert (tool_call.judgements, reasoning.judgements) == (1, 3)
    reasoning.reason = ""
    assert handover.move([tool_call, reasoning]) == {("a", "tool_call"): 1, ("a", "moving"): 1}
    assert reasoning.interruption == "handover"


def test_no_more_streams_are_judged_than_may_move():
    exchanges = [FakeExchange() for _ in range(MAX_MOVING_STREAMS + 5)]
    run(exchanges)
    assert sum(exchange.judgements for exchange in exchanges) == MAX_MOVING_STREAMS


def test_no_stream_is_judged_as_long_as_there_is_no_room():
    """A judgement reads the whole request: 200 of them in each round would delay all other streams."""
    full = target("b", "m", metadata={**CONTINUES, "max_concurrency": 1})
    router = state(A, full)
    router.balancer.begin_attempt(full)
    exchanges = [FakeExchange() for _ in range(3)]
    handover = Handover(router.balancer)
    assert handover.move(exchanges) == {("a", "instance"): 3}
    assert sum(exchange.judgements for exchange in exchanges) == 0
    router.balancer.end_attempt(full, 1.0, False)
    assert handover.move(exchanges) == {("a", "moving"): 1, ("a", "instance"): 2}


def test_the_places_are_those_of_instances_that_continue_this_kind_of_answer():
    chat = target("b", "m", metadata={"continues": True, "max_concurrency": 1})
    both = target("c", "m", metadata={"continues": True, "continues_messages": True, "max_concurrency": 1})
    exchanges = [FakeExchange(proof="continues_messages") for _ in range(2)]
    assert run(exchanges, A, chat, both) == {("a", "moving"): 1, ("a", "instance"): 1}
    only_messages = target("b", "m", metadata={"continues_messages": True})
    assert run([FakeExchange(proof="continues_messages")], A, only_messages) == {("a", "moving"): 1}
