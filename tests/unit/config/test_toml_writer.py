"""What is written is read again as it was."""

import datetime

from hypothesis import given
from hypothesis import strategies as st

from svc.base.toml import parse_toml
from svc.config.toml_writer import toml_text

SCALARS = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10)


@given(st.dictionaries(st.text(), VALUES))
def test_every_document_is_read_as_it_was_written(document):
    assert parse_toml(toml_text(document).encode()) == document


def test_dates_and_tuples_can_be_written():
    document = {"at": datetime.date(2026, 1, 2), "table": {"items": ("a", "b")}}
    expected = {"at": datetime.date(2026, 1, 2), "table": {"items": ["a", "b"]}}
    assert parse_toml(toml_text(document).encode()) == expected
