"""Generate the text of an answer as tokens, and count the tokens of prompts and answers. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, cycle, islice
from typing import Any

NATURAL_TOKENS = 64  # maximum length of an answer if no length is set, so that the echo of a long prompt is short
# The repetitions in the pattern are bounded: otherwise a long prompt of blanks would take quadratic time.
TOKEN_PATTERN = re.compile(r"\s{0,8}\S{1,16}|\s{1,8}")
CHARS_PER_TOKEN = 4  # assumed for a prompt
CACHE_BLOCK_CHARS = 16 * CHARS_PER_TOKEN  # prefixes are cached in blocks of 16 tokens, as vLLM does
MAX_CACHED_BLOCKS = 100_000
NAME_END = " heard:"  # follows the mock's name in each text


@dataclass(frozen=True, slots=True)
class GeneratedChoice:
    """One of the texts in the answer to a request."""

    tokens: list[str]
    finish: str  # stop | length | tool_calls
    call: str = ""  # the called function; the tokens are then its arguments
    stop: str | None = None  # the stop sequence that ended the text
    call_number: int = 0  # number of the call in its conversation; 0: the only call

    @property
    def text(self) -> str:
        return "".join(self.tokens)

    @property
    def call_id(self) -> str:
        """The name of the called function, with the number of the call if it has one."""
        return f"{self.call}_{self.call_number}" if self.call_number else self.call


@dataclass(frozen=True, slots=True)
class GeneratedAnswer:
    id: str
    created: int
    model: str
    choices: list[GeneratedChoice]
    usage: dict[str, Any]


def echo_prompt(name: str, prompt: str, tokens: int | None, limit: int | None, stops: list[str]) -> GeneratedChoice:
    """Return the text `NAME heard: PROMPT`, of at most NATURAL_TOKENS.

    If `tokens` is given, the text has that many tokens, and repeats the prompt as needed. In both cases the text ends
    before the first stop sequence, and after `limit` tokens at the latest.
    """
    echo = split_tokens(f"{name}{NAME_END} {prompt}")
    generated = list(islice(echo, NATURAL_TOKENS) if tokens is None else islice(chain(echo, _endless(prompt)), tokens))
    text = "".join(generated)
    stop_positions = [(position, stop) for stop in stops if stop and (position := text.find(stop)) >= 0]
    end, stop = min(stop_positions, default=(len(text), None))
    generated = list(split_tokens(text[:end])) if stop_positions else generated
    if limit is not None and len(generated) > limit:
        return GeneratedChoice(generated[:limit], "length")
    return GeneratedChoice(generated, "stop", stop=stop)


def follow_format(text: str, limit: int | None) -> GeneratedChoice:
    """Return a choice with a text in the format that the client requires. Only the client's `limit` shortens it."""
    generated = list(split_tokens(text))
    if limit is not None and len(generated) > limit:
        return GeneratedChoice(generated[:limit], "length")
    return GeneratedChoice(generated, "stop")


def call_function(function: str, arguments: str, number: int = 0) -> GeneratedChoice:
    """Return a choice that calls a function in place of a text. `number` tells apart the calls of a conversation."""
    return GeneratedChoice(list(split_tokens(arguments)), "tool_calls", function, call_number=number)


def split_tokens(text: str) -> Iterator[str]:
    return (match.group() for match in TOKEN_PATTERN.finditer(text))


def _endless(prompt: str) -> Iterator[str]:
    return cycle(split_tokens(f" {prompt.strip() or '...'}"))


def count_tokens(text: str) -> int:
    """Return the number of tokens in a prompt."""
    return -(-len(text) // CHARS_PER_TOKEN)


class PrefixCache:
    """A cache of the prefixes of past prompts, like an engine's KV cache, so that prefix routing has an effect."""

    def __init__(self) -> None:
        self._blocks: dict[int, None] = {}  # hashes of prefixes of whole blocks, least recently used first

    def read(self, prompt: str) -> int:
        """Return how many leading tokens of the prompt are cached from earlier prompts; add the prompt to the cache."""
        cached, prefix_hash, hit = 0, 0, True
        for start in range(0, len(prompt) - CACHE_BLOCK_CHARS + 1, CACHE_BLOCK_CHARS):
            prefix_hash = hash((prefix_hash, prompt[start : start + CACHE_BLOCK_CHARS]))
            hit = hit and prefix_hash in self._blocks
            cached += hit
            self._blocks.pop(prefix_hash, None)
            self._blocks[prefix_hash] = None
        while len(self._blocks) > MAX_CACHED_BLOCKS:
            del self._blocks[next(iter(self._blocks))]
        return cached * CACHE_BLOCK_CHARS // CHARS_PER_TOKEN


def usage(prompt: int, completion: int, cached: int) -> dict[str, Any]:
    """Return OpenAI's `usage` object for these numbers of tokens."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
    }
