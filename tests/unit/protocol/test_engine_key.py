"""The file with the upstream API key of an engine."""

from pathlib import Path

import pytest

from svc.base.errors import ConfigError
from svc.protocol.engine_key import bearer, parse_key

PATH = Path("engine.key")


@pytest.mark.parametrize("data", [b"sk-1", b"sk-1\n", b" sk-1\r\n\n", b"\xef\xbb\xbfsk-1\n"])
def test_a_file_holds_one_key(data):
    assert parse_key(data, PATH) == "sk-1"


@pytest.mark.parametrize(
    ("data", "problem"),
    [(b" \n", "is empty"), (b"one two", "must hold one"), (b"sk\x01", "must hold one"), (b"s\xffk", "must hold one")],
)
def test_an_invalid_key_is_refused_and_not_shown(data, problem):
    with pytest.raises(ConfigError, match=f"^engine.key: {problem}") as caught:
        parse_key(data, PATH)
    assert "sk" not in str(caught.value).removeprefix("engine.key")


def test_without_a_key_no_header_is_sent():
    assert bearer("") == {}
    assert bearer("k") == {"Authorization": "Bearer k"}
