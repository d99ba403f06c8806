"""What a babysitter's /metrics tells, looked up when it is asked."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from svc.babysitter.hang_probe import Prober
from svc.babysitter.health_rules import Sign
from svc.babysitter.lifecycle import State
from svc.babysitter.limits import Limits
from svc.babysitter.monitor import Babysitter
from svc.babysitter.registrar import Registrar
from svc.babysitter.restarter import KINDS


class Metrics(Collector):
    """Names begin with svc_babysitter_."""

    def __init__(self, sitter: Babysitter, registrar: Registrar, prober: Prober, limits: Limits) -> None:
        self.sitter = sitter
        self.registrar = registrar
        self.prober = prober
        self.limits = limits
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def describe(self) -> list[Metric]:
        return []

    def text(self, accept: str) -> tuple[bytes, str]:
        """The exposition, and its content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    def collect(self) -> Iterator[Metric]:
        picture, told = self.sitter.picture, self.registrar.last_heartbeat
        state = GaugeMetricFamily("svc_babysitter_state", "1 for the state the instance is in", labels=["state"])
        for one in State:
            if one.value:
                state.add_metric([one.value], picture.state is one)
        yield state
        restarts = picture.sighting.restarts if picture.sighting else 0
        yield CounterMetricFamily("svc_babysitter_restarts", "Starts after an exit that nobody asked for", restarts)
        yield GaugeMetricFamily("svc_babysitter_max_restarts", "How many there may be", self.sitter.config.max_restarts)
        yield GaugeMetricFamily(
            "svc_babysitter_registered", "Whether the registry has all of it", self.registrar.registered
        )
        yield GaugeMetricFamily(
            "svc_babysitter_start_time_seconds", "When it was started, Unix seconds", self.sitter.born
        )
        if told is not None:
            yield GaugeMetricFamily("svc_babysitter_heartbeat_time_seconds", "When the registry last heard it", told)
        if self.sitter.answers.took is not None:
            yield GaugeMetricFamily(
                "svc_babysitter_probe_seconds",
                "How long the last check of the engine took",
                self.sitter.answers.took,
            )
        yield from self._checks()

    def _checks(self) -> Iterator[Metric]:
        """Of what the TOML asks to be looked at more closely."""
        config, limits = self.limits.config, self.limits
        asked = CounterMetricFamily("svc_babysitter_restarts_asked", "Restarts it asked for", labels=["reason"])
        for kind in KINDS:
            asked.add_metric([kind], limits.remedy.counts[kind])
        yield asked
        if config.probe == "generate":
            probes = CounterMetricFamily("svc_babysitter_probes", "Rounds of the probe, by result", labels=["result"])
            for sign in Sign:
                probes.add_metric([sign.value], self.prober.counts[sign])
            yield probes
            yield GaugeMetricFamily(
                "svc_babysitter_probe_failures", "Probes that failed, in a row", self.prober.last.failures
            )
        if config.max_memory:
            yield GaugeMetricFamily("svc_babysitter_max_memory_bytes", "How much it may use", config.max_memory)
        if limits.memory is not None:
            yield GaugeMetricFamily("svc_babysitter_memory_bytes", "How much memory it uses", limits.memory)
