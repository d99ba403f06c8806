"""Tokens, and the prefix cache."""

from svc.mock import usage
from svc.mock.usage import PrefixCache, count

BLOCK = usage.BLOCK_CHARS


def test_a_token_is_four_characters_and_a_piece_is_one_more():
    assert [count(text) for text in ("", "a", "abcd", "abcde")] == [0, 1, 1, 2]


def test_a_prompt_seen_before_is_cached_in_whole_blocks():
    cache = PrefixCache()
    prompt = "".join(chr(97 + i % 26) for i in range(2 * BLOCK + 5))
    assert cache.read(prompt) == 0
    assert cache.read(prompt) == 32


def test_only_the_common_beginning_is_cached():
    cache = PrefixCache()
    cache.read("a" * BLOCK + "b" * BLOCK + "c" * BLOCK)
    assert cache.read("a" * BLOCK + "x" * BLOCK + "c" * BLOCK) == 16
    assert cache.read("x" + "a" * BLOCK) == 0


def test_it_forgets_what_was_used_longest_ago(monkeypatch):
    monkeypatch.setattr(usage, "BLOCKS", 2)
    cache = PrefixCache()
    cache.read("a" * BLOCK)
    cache.read("b" * BLOCK)
    assert cache.read("a" * BLOCK) == 16
    cache.read("c" * BLOCK)
    assert cache.read("a" * BLOCK) == 16
    assert cache.read("b" * BLOCK) == 0
