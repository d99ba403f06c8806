"""Requests that kill instances: refused for a while, so that a client's retry does not kill the next one."""

from collections import OrderedDict
from hashlib import blake2b

MAX_ENTRIES = 1000  # then the oldest go


class PoisonList:
    """The digests of such requests' bodies, each for `seconds`; 0: none is kept."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.entries: OrderedDict[bytes, float] = OrderedDict()  # digests and when they expire, the oldest first
        self._lengths: list[int] = []  # of their bodies, in the same order: others need no digest

    def add(self, body: bytes, now: float) -> None:
        if not body or not self._seconds or self.contains(body, now):
            return
        self.entries[_digest(body)] = now + self._seconds
        self._lengths.append(len(body))
        if len(self.entries) > MAX_ENTRIES:
            self._forget_oldest()

    def contains(self, body: bytes, now: float) -> bool:
        """Whether a request with this body is refused."""
        while self.entries and next(iter(self.entries.values())) <= now:
            self._forget_oldest()
        return len(body) in self._lengths and _digest(body) in self.entries

    def _forget_oldest(self) -> None:
        self.entries.popitem(last=False)
        self._lengths.pop(0)


def _digest(body: bytes) -> bytes:
    return blake2b(body, digest_size=16).digest()
