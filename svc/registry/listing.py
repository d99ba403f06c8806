"""The list of services as bytes: encoded once for each revision, however many watch."""

import threading
from collections.abc import Callable
from typing import Any

import msgspec

from svc.instance import Service
from svc.registry.store import Store

KEPT = 16  # lists of one revision: watchers may filter
Encoded = tuple[bytes, int]  # a JSON array, and how many are in it


class Listing:
    """What watchers are told: as of the revision, so a heartbeat since then does not show in it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._lock = threading.Lock()
        self._revision = -1
        self._encoded: dict[Any, Encoded] = {}

    def of(self, revision: int, key: Any, passes: Callable[[Service], bool]) -> tuple[int, Encoded]:
        """The list of `revision`, or of a later one, with what `passes`; equal keys stand for equal tests."""
        with self._lock:
            if revision == self._revision and key in self._encoded:
                return revision, self._encoded[key]
            revision, services = self.store.snapshot()
            if revision != self._revision or len(self._encoded) >= KEPT:
                self._revision, self._encoded = revision, {}
            encoded = self._encoded[key] = encode([s for s in services if passes(s)])
            return revision, encoded


def encode(services: list[Service]) -> Encoded:
    return msgspec.json.encode([s.to_json() for s in services]), len(services)
