"""Users have rows while there are any, and their number has a bound."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svc.router.proxy import user_rows
from svc.router.proxy.user_rows import UserRows


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> UserRows:
    """One set of rows, of two processes."""
    monkeypatch.setattr(user_rows, "SETS", 1)
    monkeypatch.setattr(user_rows, "ROWS", user_rows.ROWS_PER_SET)
    return UserRows(2, threading.Lock())


def test_a_user_has_the_same_row_each_time_and_no_other_user_has_it():
    rows = UserRows(1, threading.Lock())
    names = [f"web/{number}" for number in range(1000)]
    numbers = [rows.find(name, 1.0) for name in names]
    assert len(set(numbers)) == 1000
    assert [rows.find(name, 2.0) for name in names] == numbers


def test_buckets_of_a_row_are_its_own(small):
    first, second = small.find("a", 1.0), small.find("b", 1.0)
    for number in range(user_rows.MAX_BUCKETS):
        small.bucket(first, number)[0] = number + 1.0
    assert [small.bucket(first, number)[0] for number in range(3)] == [1.0, 2.0, 3.0]
    assert [small.bucket(second, number)[0] for number in range(3)] == [0.0, 0.0, 0.0]
    assert small.in_flight(first) == 0


def test_a_new_user_takes_the_row_that_was_used_least_recently_and_is_idle(small):
    names = [f"web/{number}" for number in range(user_rows.ROWS_PER_SET)]
    numbers = {name: small.find(name, 1.0 + at) for at, name in enumerate(names)}
    small.bucket(numbers["web/1"], 0)[0] = 5.0
    small.count(numbers["web/0"], 1)
    small.find("web/2", 100.0)
    new = small.find("web/new", 200.0)
    assert new == numbers["web/1"]
    assert small.bucket(new, 0)[0] == 0.0
    assert small.find("web/0", 201.0) == numbers["web/0"]


def test_a_user_shares_a_row_if_all_have_requests_in_flight_and_counts_stay_right(small):
    numbers = [small.find(f"web/{number}", 1.0 + number) for number in range(user_rows.ROWS_PER_SET)]
    for number in numbers:
        small.count(number, 1)
    shared = small.find("web/new", 50.0)
    assert shared == numbers[0]
    small.count(shared, 1)
    assert small.in_flight(small.find("web/0", 51.0)) == 2
    small.count(shared, -1)
    assert small.in_flight(small.find("web/0", 52.0)) == 1


def test_the_requests_of_a_process_that_ended_count_no_more(small):
    small.clear(1)
    row = small.find("web/a", 1.0)
    small.slot = 1
    small.count(row, 3)
    small.slot = 0
    small.count(row, 1)
    small.clear(1)
    assert small.in_flight(row) == 1


@given(st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=200), st.integers(0, 1))
def test_counts_neither_drift_nor_go_below_zero_whatever_users_come_and_go(steps, slot):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(user_rows, "SETS", 1)
        patch.setattr(user_rows, "ROWS", user_rows.ROWS_PER_SET)
        rows = UserRows(2, threading.Lock())
        rows.slot = slot
        in_flight: list[int] = []  # the row of each request
        for at, (user, begins) in enumerate(steps):
            if begins or not in_flight:
                in_flight.append(rows.find(f"web/{user}", float(at)))
                rows.count(in_flight[-1], 1)
            else:
                rows.count(in_flight.pop(user % len(in_flight)), -1)
            for row in range(user_rows.ROWS):
                assert rows.in_flight(row) == in_flight.count(row)


def test_a_hundred_thousand_users_nearly_all_have_rows_of_their_own():
    rows = UserRows(1, threading.Lock())
    numbers = {rows.find(f"web/{number}", float(number)) for number in range(100_000)}
    assert len(numbers) > 97_000
