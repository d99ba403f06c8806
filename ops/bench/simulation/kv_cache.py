"""The KV cache of one engine, in blocks, with reuse of common prefixes and LRU eviction. Pure.

A prompt is a list of segments: first its system prompt, which other conversations share, then the conversation's own
text. All blocks of a segment are used at the same time whenever they are used, so their order of eviction is that of
vLLM: least recently used first, and of blocks that were used together the last one of the prompt first. Therefore a
segment can be represented by the number of its leading blocks that are in the cache.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

Segments = Sequence[tuple[str, int]]  # the name of each segment and the number of its blocks


@dataclass(slots=True)
class Chain:
    """The leading blocks of a segment that are in the cache, and the number of running requests that use them."""

    blocks: int = 0
    users: int = 0


class KVCache:
    """At most `capacity` blocks, of which those without running requests are evicted when others need their room."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.used = 0
        self.evicted = 0  # blocks, since the start
        self._chains: dict[str, Chain] = {}
        self._idle: OrderedDict[str, Chain] = OrderedDict()  # the chains without users, least recently used first
        self._idle_blocks = 0

    @property
    def held(self) -> int:
        """The blocks of running requests."""
        return self.used - self._idle_blocks

    def cached_blocks(self, segments: Segments) -> int:
        """Return how many leading blocks of the prompt are in the cache."""
        total = 0
        for name, blocks in segments:
            chain = self._chains.get(name)
            present = min(chain.blocks, blocks) if chain else 0
            total += present
            if present < blocks:
                break
        return total

    def hold(self, segments: Segments) -> bool:
        """Reserve blocks for the whole of the segments; return False and change nothing if there is no room."""
        chains = [(name, self._chains.get(name) or Chain(), blocks) for name, blocks in segments]
        growth = sum(max(0, blocks - chain.blocks) for _, chain, blocks in chains)
        own_idle = sum(chain.blocks for _, chain, _ in chains if not chain.users)
        if self.used + growth - (self._idle_blocks - own_idle) > self.capacity:
            return False
        for name, chain, _ in chains:
            self._chains[name] = chain
            if self._idle.pop(name, None):
                self._idle_blocks -= chain.blocks
            chain.users += 1
        self._evict(self.used + growth - self.capacity)
        for _, chain, blocks in chains:
            chain.blocks = max(chain.blocks, blocks)
        self.used += growth
        return True

    def release(self, segments: Segments) -> None:
        """End the use of the segments. Each has the number of its full blocks: keep no more, unless others use them.

        The last segment becomes idle first, so that a prompt loses its end before its beginning.
        """
        for name, blocks in reversed(segments):
            chain = self._chains[name]
            chain.users -= 1
            if chain.users:
                continue
            self.used -= max(0, chain.blocks - blocks)
            chain.blocks = min(chain.blocks, blocks)
            if chain.blocks:
                self._idle[name] = chain
                self._idle_blocks += chain.blocks
            else:
                del self._chains[name]

    def _evict(self, count: int) -> None:
        while count > 0:
            name, chain = next(iter(self._idle.items()))
            blocks = min(count, chain.blocks)
            chain.blocks -= blocks
            if not chain.blocks:
                del self._idle[name], self._chains[name]
            self._idle_blocks -= blocks
            self.used -= blocks
            self.evicted += blocks
            count -= blocks
