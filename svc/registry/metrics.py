"""The registry's /metrics: counters of this process, and the state of the store at the time of the request."""

from collections import Counter as Count
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from svc.protocol.event import EVENT_KINDS
from svc.protocol.service import STATUSES
from svc.registry.registry_health import DEGRADED, STORE_FAILING, RegistryHealth
from svc.registry.store.contract import Store

OTHER_STATUS = "other"  # stands for every status outside of STATUSES, so that clients cannot create new labels


class RegistryMetrics:
    """The registry's metrics, whose names begin with svc_registry_."""

    def __init__(self, store: Store, registry_health: RegistryHealth) -> None:
        own = self.registry = CollectorRegistry()
        self.registrations = Counter("svc_registry_registrations", "Registrations taken", registry=own)
        self.heartbeats = Counter("svc_registry_heartbeats", "Heartbeats taken", registry=own)
        self.removals = Counter("svc_registry_removals", "Services removed", ["reason"], registry=own)
        self.expirations = Counter("svc_registry_expirations", "Leases that ended in silence", registry=own)
        self.refusals = Counter(
            "svc_registry_refusals", "Requests refused: token, owner's secret, Host or Origin", registry=own
        )
        self.checks = Counter("svc_registry_health_checks", "Active health checks", ["result"], registry=own)
        for reason in ("request", "silence"):
            self.removals.labels(reason)
        for result in ("ok", "failed"):
            self.checks.labels(result)
        own.register(_StoreCollector(store, registry_health))

    def count_check(self, succeeded: bool) -> None:
        self.checks.labels("ok" if succeeded else "failed").inc()

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """Return the metrics in the format that an Accept header asks for, and their content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type


class _StoreCollector(Collector):
    def __init__(self, store: Store, registry_health: RegistryHealth) -> None:
        self.store = store
        self.health = registry_health

    def describe(self) -> list[Metric]:
        return []  # without this method, prometheus_client would call `collect` when this collector is registered

    def collect(self) -> Iterator[Metric]:
        events = CounterMetricFamily("svc_registry_events", "Events that this registry has written", labels=["kind"])
        for kind in EVENT_KINDS:
            events.add_metric([kind], self.store.event_counts[kind])
        yield events
        status, _ = self.health.status()
        for state, meaning in (
            (DEGRADED, "leases are kept, or the store has a problem"),
            (STORE_FAILING, "the store fails"),
        ):
            yield GaugeMetricFamily(f"svc_registry_{state}", f"1 while {meaning}: see /health", status == state)
        if status != STORE_FAILING:
            yield from self._services()

    def _services(self) -> Iterator[Metric]:
        revision, services = self.store.snapshot()
        states = Count(s.status for s in services)
        by_status = GaugeMetricFamily("svc_registry_services", "Services registered", labels=["status"])
        for status in STATUSES:
            by_status.add_metric([status], states.pop(status, 0))
        by_status.add_metric([OTHER_STATUS], sum(states.values()))
        yield by_status
        healthy = sum(s.is_healthy() for s in services)
        yield GaugeMetricFamily("svc_registry_healthy_services", "Services that are healthy", healthy)
        drained = sum(s.drained for s in services)
        yield GaugeMetricFamily("svc_registry_drained_services", "Services that an operator drained", drained)
        yield CounterMetricFamily("svc_registry_revision", "Changes so far, through all restarts", revision)
