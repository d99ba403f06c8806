"""What a babysitter's /metrics tells, looked up when it is asked."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from svc.babysitter.lifecycle import State
from svc.babysitter.registrar import Registrar
from svc.babysitter.sitter import Babysitter


class Metrics(Collector):
    """Names begin with svc_babysitter_."""

    def __init__(self, sitter: Babysitter, registrar: Registrar) -> None:
        self.sitter = sitter
        self.registrar = registrar
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
        yield GaugeMetricFamily("svc_babysitter_max_restarts", "How many there may be", self.sitter.spec.max_restarts)
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
                "svc_babysitter_probe_seconds", "How long the instance took to list its models, when last asked",
                self.sitter.answers.took,
            )  # fmt: skip
