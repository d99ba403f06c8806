"""Requests that kill instances. They are refused for a while, so that a retry kills no further instance. Pure."""

from collections import OrderedDict
from hashlib import blake2b

MAX_POISONED_BODIES = 1000  # above this number, the oldest entries are dropped


class PoisonList:
    """The digests of the bodies of requests that kill instances, each kept for `seconds` (0: the list stays empty)."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.entries: OrderedDict[bytes, float] = OrderedDict()  # digest -> time of expiry, oldest entry first
        self._lengths: list[int] = []  # lengths of these bodies, in the same order; no body of another length is hashed

    def add(self, body: bytes, now: float) -> None:
        """Add this body to the list: requests with it are refused from now on."""
        if not body or not self._seconds or self.contains(body, now):
            return
        self.entries[_digest(body)] = now + self._seconds
        self._lengths.append(len(body))
        if len(self.entries) > MAX_POISONED_BODIES:
            self._forget_oldest()

    def contains(self, body: bytes, now: float) -> bool:
        """Drop expired entries, and return whether a request with this body is refused."""
        while self.entries and next(iter(self.entries.values())) <= now:
            self._forget_oldest()
        return len(body) in self._lengths and _digest(body) in self.entries

    def _forget_oldest(self) -> None:
        self.entries.popitem(last=False)
        self._lengths.pop(0)


def _digest(body: bytes) -> bytes:
    return blake2b(body, digest_size=16).digest()
