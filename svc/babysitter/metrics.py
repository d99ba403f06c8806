"""The babysitter's /metrics, collected at each request."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from svc.babysitter.gpu_metrics import gpu_metrics
from svc.babysitter.gpu_reporter import GpuReporter
from svc.babysitter.hang_probe import HangProbe
from svc.babysitter.health_rules import ProbeOutcome
from svc.babysitter.lifecycle import LifecycleState
from svc.babysitter.monitor import Monitor
from svc.babysitter.on_demand.on_demand_loop import OnDemand
from svc.babysitter.registrar import Registrar
from svc.babysitter.resource_limits import ResourceLimits
from svc.babysitter.restarter import KINDS


class BabysitterMetrics(Collector):
    """The babysitter's metrics, whose names begin with svc_babysitter_."""

    def __init__(
        self,
        monitor: Monitor,
        registrar: Registrar,
        hang_probe: HangProbe,
        limits: ResourceLimits,
        on_demand: OnDemand | None = None,
        gpu_reporter: GpuReporter | None = None,
    ) -> None:
        self.monitor = monitor
        self.registrar = registrar
        self.hang_probe = hang_probe
        self.limits = limits
        self.on_demand = on_demand
        self.gpu_reporter = gpu_reporter
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def describe(self) -> list[Metric]:
        return []

    def text(self, accept: str) -> tuple[bytes, str]:
        """Return the metrics in the format that the Accept header requests, and the content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    def collect(self) -> Iterator[Metric]:
        snapshot, last_heartbeat = self.monitor.snapshot, self.registrar.last_heartbeat
        states = GaugeMetricFamily("svc_babysitter_state", "1 for the state the instance is in", labels=["state"])
        for state in LifecycleState:
            if state.value:
                states.add_metric([state.value], snapshot.state is state)
        yield states
        restarts = snapshot.process.restarts if snapshot.process else 0
        yield CounterMetricFamily("svc_babysitter_restarts", "Starts after an unexpected exit", restarts)
        yield GaugeMetricFamily(
            "svc_babysitter_max_restarts", "Restarts before it is given up", self.monitor.config.max_restarts
        )
        yield GaugeMetricFamily(
            "svc_babysitter_registered",
            "1 while the registry has the babysitter and its instance",
            self.registrar.registered,
        )
        yield GaugeMetricFamily(
            "svc_babysitter_start_time_seconds", "Start of the babysitter, Unix seconds", self.monitor.started
        )
        if last_heartbeat is not None:
            yield GaugeMetricFamily(
                "svc_babysitter_heartbeat_time_seconds",
                "Last heartbeat that the registry accepted, Unix seconds",
                last_heartbeat,
            )
        if self.monitor.engine_status.check_seconds is not None:
            yield GaugeMetricFamily(
                "svc_babysitter_probe_seconds",
                "How long the last check of the engine took",
                self.monitor.engine_status.check_seconds,
            )
        yield from self._checks()
        if self.on_demand is not None and self.monitor.config.on_demand:
            yield from self._sleep(self.on_demand)
        if self.gpu_reporter is not None and self.gpu_reporter.latest is not None:
            yield from gpu_metrics(self.gpu_reporter.latest, self.gpu_reporter.hostname)

    def _sleep(self, on_demand: OnDemand) -> Iterator[Metric]:
        """Yield the metrics of an instance on demand."""
        history, is_asleep = on_demand.history, self.monitor.snapshot.state is LifecycleState.ASLEEP
        yield GaugeMetricFamily("svc_babysitter_asleep", "1 while the instance is asleep", is_asleep)
        yield CounterMetricFamily(
            "svc_babysitter_loads", "Times that the instance became ready after a start or a wake", history.loads
        )
        yield CounterMetricFamily("svc_babysitter_sleeps", "Times that the instance fell asleep", history.sleeps)
        if history.load_seconds is not None:
            yield GaugeMetricFamily(
                "svc_babysitter_load_seconds", "How long the last start or wake took", history.load_seconds
            )

    def _checks(self) -> Iterator[Metric]:
        """Yield the metrics of the checks that the TOML enables."""
        config, limits = self.limits.config, self.limits
        requested = CounterMetricFamily(
            "svc_babysitter_restarts_asked", "Restarts that the babysitter requested", labels=["reason"]
        )
        for kind in KINDS:
            requested.add_metric([kind], limits.restarter.counts[kind])
        yield requested
        if config.probe == "generate":
            probes = CounterMetricFamily("svc_babysitter_probes", "Rounds of the probe, by result", labels=["result"])
            for outcome in ProbeOutcome:
                probes.add_metric([outcome.value], self.hang_probe.counts[outcome])
            yield probes
            yield GaugeMetricFamily(
                "svc_babysitter_probe_failures", "Probes that failed, in a row", self.hang_probe.last.failures
            )
        if config.max_memory:
            yield GaugeMetricFamily(
                "svc_babysitter_max_memory_bytes", "Memory that the instance may use", config.max_memory
            )
        if limits.memory is not None:
            yield GaugeMetricFamily("svc_babysitter_memory_bytes", "Memory that the instance uses", limits.memory)
