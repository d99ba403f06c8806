"""TOML files: errors with their line, and a byte order mark."""

import pytest

from svc.base.toml import parse_toml


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a = 1\nb = \xff\n", "line 2 is not UTF-8"),
        (b"a = \n", "not TOML: .*line 1"),
        (b"a = 1\na = 2\n", "not TOML: "),
        (b"a = " + b"[" * 100_000, "not TOML: "),
    ],
)
def test_a_file_that_is_not_toml_is_refused_with_its_line(data, message):
    with pytest.raises(ValueError, match=message):
        parse_toml(data)


def test_a_byte_order_mark_is_skipped():
    assert parse_toml(b"\xef\xbb\xbfa = 1\n") == {"a": 1}
