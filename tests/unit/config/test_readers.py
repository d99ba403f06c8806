"""Readers of configuration values: exact types, limits, and every error of a list at once."""

import datetime

import pytest

from svc.config import readers


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "true"), ("a'b", '"a\'b"'), (1.5, "1.5"), (datetime.date(2026, 1, 2), "2026-01-02")],
)
def test_a_message_quotes_a_value_as_its_file_spells_it(value, text):
    assert readers.quoted(value) == text


def test_a_long_value_is_shortened_in_a_message():
    assert readers.quoted("x" * 100) == "'" + "x" * 56 + "..."


@pytest.mark.parametrize("value", [True, 1.0, "1", None, 0, 11])
def test_a_whole_number_has_its_exact_type_and_limits(value):
    with pytest.raises(ValueError, match="must be "):
        readers.whole_number(1, 10)(value)


@pytest.mark.parametrize("value", [True, "1", float("nan"), float("inf"), -0.1])
def test_a_number_has_its_exact_type_and_limits(value):
    with pytest.raises(ValueError, match="must be "):
        readers.number(0, 10)(value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (1, "must be text, not 1; put it in quotes"),
        ("<fill in: the path>", "not filled in yet; fill in the path"),
        ("a\0", "NUL character"),
        ("a\r\n", "carriage return"),
    ],
)
def test_a_text_is_filled_in_and_fits_into_an_argument(value, message):
    with pytest.raises(ValueError, match=message):
        readers.text(value)


def test_a_blank_text_is_empty():
    with pytest.raises(ValueError, match="must not be empty"):
        readers.nonempty_text(" \t")


def test_a_list_reports_every_wrong_item_with_its_index():
    with pytest.raises(readers.MultipleErrors) as error:
        readers.list_of(readers.choice("a", "b"))(["a", "c", "b", 4])
    assert error.value.problems == [
        ("[1]", 'must be "a" or "b", not \'c\'; choose one'),
        ("[3]", 'must be "a" or "b", not 4; choose one'),
    ]
