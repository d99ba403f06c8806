import random

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from svc.protocol.usage import OTHER
from svc.router.telemetry.request_tokens import NO_TOKENS, RequestTokens
from svc.router.usage.usage_sums import UsageEntry, UsageSums

places = st.tuples(st.sampled_from("ab"), st.sampled_from("uvwxyz"), st.sampled_from("mn"))
requests = st.lists(st.tuples(places, st.integers(0, 1000), st.integers(0, 1000)), max_size=60)


def count(sums: UsageSums, request: tuple[tuple[str, str, str], int, int]) -> None:
    place, prompt, completion = request
    row = sums.row(*place)
    row.requests += 1
    row.add_tokens(RequestTokens(prompt, 0, completion, completion), NO_TOKENS, 0.5)


def content(entries: list[UsageEntry]) -> dict[tuple[str, str, str], tuple[float, ...]]:
    return {
        (e.key, e.user, e.model): (e.requests, e.prompt, e.completion, e.estimated, e.stream_seconds) for e in entries
    }


@given(requests, st.integers(1, 5), st.randoms(use_true_random=False))
def test_sums_are_equal_in_whatever_order_and_batches_they_come(
    made: list[tuple[tuple[str, str, str], int, int]], processes: int, order: random.Random
):
    one = UsageSums()
    for request in made:
        count(one, request)
    several, total = [UsageSums() for _ in range(processes)], UsageSums()
    order.shuffle(made)
    for request in made:
        count(order.choice(several), request)
        if order.random() < 0.2:
            total.add(order.choice(several).take())
    for process in several:
        total.add(process.take())
    assert content(total.take()) == content(one.take())


@given(requests, st.integers(1, 4))
def test_rows_are_limited_and_no_request_is_lost(made: list[tuple[tuple[str, str, str], int, int]], limit: int):
    sums = UsageSums(limit)
    for request in made:
        count(sums, request)
    assert len(sums) <= 2 * limit + 1
    assert sums.requests() == len(made)
    entries = sums.take()
    assert sum(entry.prompt for entry in entries) == sum(prompt for _, prompt, _ in made)
    assert len(sums) == 0


def test_too_many_users_are_counted_for_their_key_and_model():
    sums = UsageSums(2)
    for user in "abcde":
        sums.row("ci", user, "m").requests += 1
    assert {(e.key, e.user): e.requests for e in sums.take()} == {("ci", "a"): 1, ("ci", "b"): 1, ("ci", OTHER): 3}
    assert sums.folded == 3


def test_a_stream_is_counted_while_it_runs_and_settled_at_its_end():
    row, running, final = UsageEntry(), RequestTokens(20, 0, 7, 27), RequestTokens(18, 4, 9, 0)
    row.add_tokens(running, NO_TOKENS, 1.0)
    row.add_tokens(final, running, 0.5)
    assert (row.prompt, row.cached, row.completion, row.estimated, row.stream_seconds) == (18, 4, 9, 0, 1.5)


def test_a_user_whose_name_is_no_unicode_can_be_written():
    sums = UsageSums()
    for _ in range(2):
        sums.row("ci", "a\ud800", "m").requests += 1
    (entry,) = sums.take()
    assert msgspec.json.encode(entry).startswith(b'[0,"ci","a?","m",2,')
