"""The list of services as bytes: each service encoded once, and the list once for each revision, however many watch."""

import threading
from collections import Counter
from collections.abc import Callable, Collection
from typing import Any

import msgspec

from svc.protocol.service import Service
from svc.registry.store.base import Store

KEPT = 16  # lists of one revision: watchers may filter
Encoded = tuple[bytes, int]  # a JSON array, and how many are in it


class Listing:
    """What is told of the list. Stores hand out the same object for as long as a service is the same."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._lock = threading.Lock()
        self._revision = -1
        self._lists: dict[Any, Encoded] = {}
        self._made: dict[str, tuple[Service, bytes]] = {}

    def now(self, passes: Callable[[Service], bool]) -> tuple[int, Encoded]:
        """The revision and the list with what `passes`, last heartbeats included."""
        with self._lock:
            revision, services = self.store.snapshot()
            return revision, self._encode([s for s in services if passes(s)])

    def of(self, revision: int, key: Any, passes: Callable[[Service], bool]) -> tuple[int, Encoded]:
        """As of `revision` or a later one: a heartbeat since then does not show. Equal keys stand for equal tests."""
        with self._lock:
            if revision == self._revision and key in self._lists:
                return revision, self._lists[key]
            revision, services = self.store.snapshot()
            if revision != self._revision or len(self._lists) >= KEPT:
                self._revision, self._lists = revision, {}
            if len(self._made) > 2 * len(services):
                self._made = {}  # of names that went
            told = self._lists[key] = self._encode([s for s in services if passes(s)])
            return revision, told

    def _encode(self, services: list[Service]) -> Encoded:
        return b"[%b]" % b",".join([self._one(s) for s in services]), len(services)

    def _one(self, service: Service) -> bytes:
        made = self._made.get(service.name)
        if made is None or made[0] is not service:
            made = self._made[service.name] = (service, msgspec.json.encode(service.to_json()))
        return made[1]


def counts(services: Collection[Service]) -> dict[str, Any]:
    """Return how many services there are, as /stats reports it."""
    healthy = sum(service.is_healthy() for service in services)
    return {
        "total_services": len(services),
        "healthy_services": healthy,
        "unhealthy_services": len(services) - healthy,
        "status_distribution": Counter(service.status for service in services),
        "host_distribution": Counter(service.host for service in services),
    }
