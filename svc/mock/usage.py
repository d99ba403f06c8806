"""What an answer costs: tokens, and those that the prefix cache spared."""

from typing import Any

TOKEN_CHARS = 4  # a token is four characters of the prompt
BLOCK_CHARS = 16 * TOKEN_CHARS  # cached in blocks of 16 tokens, as vLLM does
BLOCKS = 100_000


def count(text: str) -> int:
    return -(-len(text) // TOKEN_CHARS)


class PrefixCache:
    """Remembers the beginnings of prompts, as a backend's KV cache does, so that routing by prefix shows."""

    def __init__(self) -> None:
        self._seen: dict[int, None] = {}

    def read(self, prompt: str) -> int:
        """The tokens of the prompt's beginning that an earlier prompt had too; remembers this one."""
        known, chain, still = 0, 0, True
        for start in range(0, len(prompt) - BLOCK_CHARS + 1, BLOCK_CHARS):
            chain = hash((chain, prompt[start : start + BLOCK_CHARS]))
            still = still and chain in self._seen
            known += still
            self._seen.pop(chain, None)  # the order is that of the last use
            self._seen[chain] = None
        while len(self._seen) > BLOCKS:
            del self._seen[next(iter(self._seen))]
        return known * BLOCK_CHARS // TOKEN_CHARS


def usage(prompt: int, completion: int, cached: int) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
    }
