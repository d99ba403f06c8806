"""Token files: one token on one line, as ever, or several with names."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svc.base.errors import ConfigError
from svc.base.token_file import NAME, WORD_PATTERN, first_token, parse_tokens


@pytest.fixture
def path(tmp_path):
    return tmp_path / "token"


@pytest.mark.parametrize("data", [b"secret\n", b"  two words ", b"alice: secret", b'alice = "secret"', b"\xff\n"])
def test_a_line_is_one_token_without_a_name(path, data):
    assert parse_tokens(data, path) == (("operator", data.strip()),)


def test_a_table_has_several_tokens_in_its_order(path):
    data = b'# of the fleet\n[tokens]\nfleet = "a+/="\r\nalice = "b"\n'
    assert parse_tokens(data, path) == (("fleet", b"a+/="), ("alice", b"b"))


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b" \n", "is empty"),
        (b"[tokens]\n", "not a token file: write one token"),
        (b"one\ntwo\n", "not a token file, line 1: write one token"),
        (b"[tokens]\nalice = secret\n", "not a token file, line 2"),
        (b'[tokens]\nalice = "secret"\n[keys]\n', "not a token file"),
        (b'[tokens]\n"s+cret" = "alice"\n', "the name of entry 1 must begin with a letter"),
        (b'[tokens]\nalice = "two secrets"\n', "tokens.alice: must be one word"),
        (b'[tokens]\nalice = ""\n', "tokens.alice: must be one word"),
        (b"[tokens]\nalice = 7\n", "tokens.alice: must be one word"),
        (b'[tokens]\nalice = "secret"\nbob = "secret"\n', "tokens.bob: the same token as alice"),
    ],
)
def test_a_wrong_file_is_refused_without_showing_a_token(path, data, problem):
    with pytest.raises(ConfigError) as error:
        parse_tokens(data, path)
    assert error.value.message.startswith(f"{path}: ")
    assert problem in error.value.message
    assert not any(secret in error.value.message for secret in ("secret", "s+cret", "one ="))


def test_a_program_sends_the_first_token(path):
    path.write_text('[tokens]\nfleet = "one"\nalice = "two"\n')
    assert first_token(path) == "one"
    path.write_text("secret\n")
    assert first_token(path) == "secret"


def test_a_token_that_no_header_can_contain_is_refused(path):
    path.write_text("tökén")
    with pytest.raises(ConfigError, match="not a token: use one line of ASCII"):
        first_token(path)


@given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda rest: b"[tokens]\n" + rest))
def test_any_content_has_tokens_or_is_refused(data):
    try:
        tokens = parse_tokens(data, Path("token"))
    except ConfigError:
        return
    assert tokens
    assert all(token for _, token in tokens)
    assert len({token for _, token in tokens}) == len(tokens)


NAMES = st.from_regex(NAME, fullmatch=True)
WORDS = st.from_regex(WORD_PATTERN, fullmatch=True).filter(lambda word: "'" not in word)


@given(st.lists(st.tuples(NAMES, WORDS), min_size=1, unique_by=(lambda pair: pair[0], lambda pair: pair[1])))
def test_what_a_table_lists_is_read(entries):
    lines = "".join(f"'{name}' = '{token}'\n" for name, token in entries)
    assert parse_tokens(f"[tokens]\n{lines}".encode(), Path("token")) == tuple(
        (name, token.encode()) for name, token in entries
    )
