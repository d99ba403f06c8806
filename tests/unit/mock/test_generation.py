"""The text that the mock generates, its tokens, and the prefix cache."""

import pytest

from svc.mock import generation
from svc.mock.generation import (
    CACHE_BLOCK_CHARS,
    GeneratedChoice,
    PrefixCache,
    call_function,
    count_tokens,
    echo_prompt,
)


def test_an_answer_repeats_the_prompt_after_the_name():
    assert echo_prompt("alpha", "Hello there", None, None, []) == GeneratedChoice(
        ["alpha", " heard:", " Hello", " there"], "stop"
    )


def test_blanks_and_line_ends_are_kept():
    assert echo_prompt("m", "a\n\n  b", None, None, []).text == "m heard: a\n\n  b"


def test_a_set_length_is_reached_by_repeating_the_prompt():
    choice = echo_prompt("m", "a b", 7, None, [])
    assert choice.text == "m heard: a b a b a"
    assert len(choice.tokens) == 7


def test_a_set_length_is_reached_with_an_empty_prompt():
    assert len(echo_prompt("m", "", 9, None, []).tokens) == 9


@pytest.mark.parametrize(("limit", "finish", "tokens"), [(3, "length", 3), (4, "stop", 4), (99, "stop", 4)])
def test_the_client_s_limit_ends_the_answer_with_finish_reason_length(limit, finish, tokens):
    choice = echo_prompt("m", "a b", None, limit, [])
    assert (choice.finish, len(choice.tokens)) == (finish, tokens)


def test_an_answer_ends_before_the_first_stop_sequence():
    assert echo_prompt("m", "one two three", None, None, ["three", " two", ""]) == GeneratedChoice(
        ["m", " heard:", " one"], "stop", stop=" two"
    )


def test_a_long_prompt_is_not_repeated_whole():
    assert len(echo_prompt("m", "x " * 10_000, None, None, []).tokens) == generation.NATURAL_TOKENS


def test_a_prompt_of_a_million_blanks_takes_linear_time():
    assert len(echo_prompt("m", " " * 1_000_000, 500_000, None, []).tokens) == 500_000


def test_four_characters_are_a_token_and_the_rest_is_one_more():
    assert [count_tokens(text) for text in ("", "a", "abcd", "abcde")] == [0, 1, 1, 2]


def test_a_repeated_prompt_is_cached_in_whole_blocks():
    cache = PrefixCache()
    prompt = "".join(chr(97 + i % 26) for i in range(2 * CACHE_BLOCK_CHARS + 5))
    assert cache.read(prompt) == 0
    assert cache.read(prompt) == 32


def test_only_the_common_prefix_is_cached():
    cache = PrefixCache()
    cache.read("a" * CACHE_BLOCK_CHARS + "b" * CACHE_BLOCK_CHARS + "c" * CACHE_BLOCK_CHARS)
    assert cache.read("a" * CACHE_BLOCK_CHARS + "x" * CACHE_BLOCK_CHARS + "c" * CACHE_BLOCK_CHARS) == 16
    assert cache.read("x" + "a" * CACHE_BLOCK_CHARS) == 0


def test_the_least_recently_used_block_is_dropped(monkeypatch):
    monkeypatch.setattr(generation, "MAX_CACHED_BLOCKS", 2)
    cache = PrefixCache()
    cache.read("a" * CACHE_BLOCK_CHARS)
    cache.read("b" * CACHE_BLOCK_CHARS)
    assert cache.read("a" * CACHE_BLOCK_CHARS) == 16
    cache.read("c" * CACHE_BLOCK_CHARS)
    assert cache.read("a" * CACHE_BLOCK_CHARS) == 16
    assert cache.read("b" * CACHE_BLOCK_CHARS) == 0


def test_the_calls_of_a_conversation_have_ids_of_their_own():
    assert [call_function("run", "{}", number).call_id for number in (0, 1, 2)] == ["run", "run_1", "run_2"]
