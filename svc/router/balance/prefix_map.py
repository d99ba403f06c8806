"""Which instances were sent which prefixes of conversations, and so probably have them in their caches. Pure.

A prefix is identified by the hash of its last block (see `conversation`). The map is bounded, and has two generations.
Each entry that is used is put into the young generation. When that is full, it becomes the old one, and the old one
before it is dropped. So an entry stays until others fill half the map: about as in an LRU cache, but without the cost
of keeping all entries in order.

The instances of an entry are the bits of one number, so that one look-up shows which instances have the prefix. When an
instance leaves, its bit is ignored. Once no entry has the bit, another instance may get it.
"""

from collections.abc import Sequence

# Maximum memory of an entry: 60 bytes in a dict that has just grown, 48 for the key, 32 for the bits of 60 instances.
ENTRY_BYTES = 140
SMALL_BITS = 60
BYTES_PER_BIT = 1 / 6  # size of a number with more bits than SMALL_BITS
MAX_RETIRED_BITS = 64  # if there are more, they are removed from all entries at once, which takes milliseconds

Match = tuple[int, int]  # number of blocks, and the bits of the instances that were sent these blocks and no more


class PrefixMap:
    """A map from the hash of a prefix to the instances that were sent the prefix."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._young: dict[int, int] = {}
        self._old: dict[int, int] = {}
        self.bits: dict[str, int] = {}  # instance -> its bit
        self._present = 0  # the bits of all instances
        self._retired = 0  # the bits of instances that have left, which may be in entries
        self._max_young = 0
        self._set_limit()

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def find(self, hashes: Sequence[int]) -> list[Match]:
        """Return the longest prefix of a conversation that each instance was sent; the longest of all comes first."""
        matches: list[Match] = []
        most, missing = len(hashes), self._present
        while most > 0 and missing:
            length, bits = self._longest(hashes, most, missing)
            if not length:
                break
            matches.append((length, bits))
            most, missing = length - 1, missing ^ bits
        return matches

    def _longest(self, hashes: Sequence[int], most: int, among: int) -> Match:
        """Return the longest prefix, of up to `most` blocks, that some of the instances `among` were sent.

        An instance that has a prefix has all shorter ones, so this is a binary search.
        """
        young, old = self._young.get, self._old.get
        length = bits = 0
        while length < most:
            middle = (length + most + 1) // 2
            key = hashes[middle - 1]
            instance_bits = (young(key) or old(key, 0)) & among
            if instance_bits:
                length, bits = middle, instance_bits
            else:
                most = middle - 1
        return length, bits

    def add(self, hashes: Sequence[int], instance: str) -> None:
        """Record that an instance is sent a conversation."""
        bit = self.bits.get(instance) or self._new_bit(instance)
        if len(self._young) + len(hashes) > self._max_young:
            self._old, self._young = self._young, {}
            hashes = hashes[: self._max_young]
        young, old = self._young, self._old.get
        for key in reversed(hashes):
            bits = young.get(key)
            if bits is None:
                young[key] = old(key, 0) | bit
            elif bits & bit:  # all shorter prefixes were added to this generation together with this one
                break
            else:
                young[key] = bits | bit

    def has(self, hashes: Sequence[int], instance: str) -> bool:
        """Return whether the whole conversation was added for this instance not long ago."""
        return not hashes or bool(self._young.get(hashes[-1], 0) & self.bits.get(instance, 0))

    def forget(self, instance: str) -> None:
        """Drop the entries of an instance that has restarted or left."""
        bit = self.bits.pop(instance, 0)
        self._present ^= bit
        self._retired |= bit
        if self._retired.bit_count() > MAX_RETIRED_BITS:
            self._purge()

    def _new_bit(self, instance: str) -> int:
        used = self._present | self._retired
        bit = ~used & (used + 1)  # the lowest bit that is not used
        self.bits[instance] = bit
        self._present |= bit
        self._set_limit()
        return bit

    def _set_limit(self) -> None:
        """Set how many entries a generation may have: the more instances there are, the larger an entry is."""
        bits = (self._present | self._retired).bit_length()
        entry_bytes = ENTRY_BYTES + int(max(0, bits - SMALL_BITS) * BYTES_PER_BIT)
        self._max_young = self._max_bytes // entry_bytes // 2

    def _purge(self) -> None:
        present, self._retired = self._present, 0
        self._young = {key: bits & present for key, bits in self._young.items() if bits & present}
        self._old = {key: bits & present for key, bits in self._old.items() if bits & present}
        self._set_limit()


class PeekedPrefixes(PrefixMap):
    """A read-only view of a map, for a choice that is only explained."""

    def __init__(self, prefixes: PrefixMap) -> None:
        super().__init__(0)
        self.bits = prefixes.bits
        self._prefixes = prefixes

    def find(self, hashes: Sequence[int]) -> list[Match]:
        return self._prefixes.find(hashes)

    def add(self, hashes: Sequence[int], instance: str) -> None:
        """Do nothing: the choice is only explained, so nothing is sent."""
