"""A cache of the list of services as JSON: each service is encoded once, each list once per revision."""

import threading
from collections import Counter
from collections.abc import Callable, Collection
from typing import Any

import msgspec

from svc.protocol.service import Service
from svc.registry.store.contract import Store

MAX_CACHED_LISTS = 16  # one list for each filter; all are of the same revision
EncodedList = tuple[bytes, int]  # a JSON array, and the number of services in it
FilterKey = tuple[str | None, ...]


class ListCache:
    """Caches encoded services by object identity: a store returns the same Service object until the service changes."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._lock = threading.Lock()
        self._revision = -1
        self._lists: dict[FilterKey, EncodedList] = {}
        self._encoded_services: dict[str, tuple[Service, bytes]] = {}

    def current(self, passes: Callable[[Service], bool]) -> tuple[int, EncodedList]:
        """Return the revision and the list of the services for which `passes` is true, with their latest heartbeats."""
        with self._lock:
            revision, services = self.store.snapshot()
            return revision, self._encode([s for s in services if passes(s)])

    def of_revision(self, revision: int, key: FilterKey, passes: Callable[[Service], bool]) -> tuple[int, EncodedList]:
        """Return `revision` and its cached list, or the current revision and list if that list is not cached.

        `key` identifies the filter `passes`: calls with equal keys share a cached list. A cached list may lack the
        latest heartbeats.
        """
        with self._lock:
            if revision == self._revision and key in self._lists:
                return revision, self._lists[key]
            revision, services = self.store.snapshot()
            if revision != self._revision or len(self._lists) >= MAX_CACHED_LISTS:
                self._revision, self._lists = revision, {}
            if len(self._encoded_services) > 2 * len(services):
                self._encoded_services = {}  # over half of the entries belong to services that were removed
            encoded = self._lists[key] = self._encode([s for s in services if passes(s)])
            return revision, encoded

    def _encode(self, services: list[Service]) -> EncodedList:
        return b"[%b]" % b",".join([self._encode_service(s) for s in services]), len(services)

    def _encode_service(self, service: Service) -> bytes:
        entry = self._encoded_services.get(service.name)
        if entry is None or entry[0] is not service:
            entry = self._encoded_services[service.name] = (service, msgspec.json.encode(service.to_json()))
        return entry[1]


def service_counts(services: Collection[Service]) -> dict[str, Any]:
    """Return the counts of services for /stats."""
    healthy = sum(service.is_healthy() for service in services)
    return {
        "total_services": len(services),
        "healthy_services": healthy,
        "unhealthy_services": len(services) - healthy,
        "status_distribution": Counter(service.status for service in services),
        "host_distribution": Counter(service.host for service in services),
    }
