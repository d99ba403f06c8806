"""Fields of vendors' tools: numbers with and without units, and the many words for a missing value."""

import time

import pytest

from svc.base.gpus import fields


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("64", 64),
        (" 12.5 W", 12.5),
        ("87 %", 87),
        ("51C", 51),
        ({"value": 94, "unit": "%"}, 94),
        ({"value": "12"}, 12),
        ("[N/A]", None),
        ("[Not Supported]", None),
        ("[Unknown Error]", None),
        ("ERR!", None),
        ("", None),
        ("nan", None),
        (float("inf"), None),
        (True, None),
        (None, None),
        ([1], None),
        ({"value": {}}, None),
    ],
)
def test_numbers(value, expected):
    assert fields.number(value) == expected


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        ("3", fields.MIB, 3 << 20),
        ({"value": 2, "unit": "GB"}, 1, 2 << 30),
        ({"value": 5, "unit": "B"}, fields.MIB, 5),
        ({"value": 5, "unit": "?"}, fields.KIB, 5 << 10),
        ("-1", 1, None),
        ("1" * 30, 1, None),
    ],
)
def test_sizes(value, unit, expected):
    assert fields.size(value, unit) == expected


def test_what_cannot_be_true_is_none():
    assert fields.share("101") is None
    assert fields.temperature("4294967295") is None
    assert fields.power("1e9") is None
    assert fields.pid("0") is None
    assert fields.pid("99999999999") is None


def test_names_are_printable_and_short():
    assert fields.text("a\x1b[31m" + "b" * 999).isprintable()
    assert len(fields.text("b" * 999)) == 128
    assert fields.text("[N/A]") == fields.text("Not Supported") == fields.text(None) == ""


def test_json_is_found_behind_warnings():
    assert fields.json_value('WARNING: [low power] {x\n\n{"a": 1}\ntrailing') == {"a": 1}
    with pytest.raises(ValueError, match="no JSON"):
        fields.json_value("[" * 100_000)


def test_numbers_of_any_length_are_read():
    assert fields.number(10**400) is None
    assert fields.number("9" * 5000 + ".0") is not None  # inf, which is in no range
    assert fields.size({"value": 10**400, "unit": "MB"}) is None


def test_garbage_takes_no_time():
    before = time.process_time()
    with pytest.raises(ValueError, match="no JSON"):
        fields.json_value("\n[" * 200_000)
    assert time.process_time() - before < 1
