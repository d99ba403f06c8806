"""Requests that kill instances. They are refused for a while, so that a retry kills no further instance. Pure."""

from collections import OrderedDict
from collections.abc import Iterable
from hashlib import blake2b

import msgspec

MAX_POISONED_BODIES = 1000  # if there are more, the oldest entries are dropped


class PoisonedBody(msgspec.Struct, frozen=True, array_like=True):
    """The body of a request that has killed instances. `expires`: monotonic seconds."""

    digest: bytes
    length: int
    expires: float


class PoisonList:
    """The bodies of requests that kill instances, each kept for `seconds` (0: the list stays empty)."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.entries: OrderedDict[bytes, PoisonedBody] = OrderedDict()  # digest of the body -> entry, oldest first
        self._lengths: frozenset[int] = frozenset()  # lengths of these bodies; no body of another length is hashed

    def add(self, body: bytes, now: float) -> None:
        """Add this body to the list: requests with it are refused from now on."""
        if body and self._seconds and not self.contains(body, now):
            self.replace([*self.entries.values(), PoisonedBody(_digest(body), len(body), now + self._seconds)])

    def contains(self, body: bytes, now: float) -> bool:
        """Drop expired entries, and return whether a request with this body is refused."""
        if next(iter(self.entries.values())).expires <= now if self.entries else False:
            self.replace(entry for entry in self.entries.values() if entry.expires > now)
        return len(body) in self._lengths and _digest(body) in self.entries

    def replace(self, entries: Iterable[PoisonedBody]) -> None:
        """Replace the list by these entries; of too many, keep the last ones."""
        kept = list({entry.digest: entry for entry in entries}.values())[-MAX_POISONED_BODIES:]
        self.entries = OrderedDict((entry.digest, entry) for entry in kept)
        self._lengths = frozenset(entry.length for entry in kept)


def _digest(body: bytes) -> bytes:
    return blake2b(body, digest_size=16).digest()
