import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svc.protocol.usage import COUNT_NAMES, UsageRow, as_dict, parse_dimensions, summed, total_of

rows = st.lists(
    st.builds(
        UsageRow,
        key=st.sampled_from("ab"),
        model=st.sampled_from("mn"),
        requests=st.integers(0, 9),
        prompt=st.integers(0, 99),
        completion=st.integers(0, 99),
    ),
    max_size=20,
)


@given(rows, st.randoms(use_true_random=False))
def test_routers_are_summed_in_any_order_and_in_any_steps(parts: list[UsageRow], order: random.Random):
    whole = summed(parts, ("key", "model"))
    order.shuffle(parts)
    half = len(parts) // 2
    steps = summed([*summed(parts[:half], ("key", "model")), *summed(parts[half:], ("key", "model"))], ("key", "model"))
    assert sorted(map(str, steps)) == sorted(map(str, whole))
    assert total_of(whole) == total_of(parts)


def test_most_tokens_come_first_and_days_in_their_order():
    by_key = summed([UsageRow(key="a", prompt=5), UsageRow(key="b", completion=9)], ("key",))
    assert [row.key for row in by_key] == ["b", "a"]
    by_day = summed([UsageRow(day="2026-12-02", prompt=5), UsageRow(day="2026-12-01")], ("day",))
    assert [row.day for row in by_day] == ["2026-12-01", "2026-12-02"]


def test_a_row_is_shown_with_what_it_is_summed_by():
    assert list(as_dict(UsageRow(key="a"), ("key",))) == ["key", *COUNT_NAMES]


def test_dimensions_are_names_separated_by_commas():
    assert parse_dimensions(" day, key,day ") == ("day", "key")
    assert parse_dimensions("") == ()
    with pytest.raises(ValueError, match="'week' is nothing to sum by; choose among key, user, model, day, hour"):
        parse_dimensions("week")
