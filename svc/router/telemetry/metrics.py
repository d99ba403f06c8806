"""What Prometheus reads, made of the router's counts when it asks. Labels are bounded: models and instances we know."""

from collections import Counter
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, SummaryMetricFamily
from prometheus_client.registry import Collector

from svc.router.state import RouterState
from svc.router.telemetry.access_log import Histogram

INSTANCE, MODEL = ["instance"], ["model"]


class RouterMetrics(Collector):
    def __init__(self, state: RouterState) -> None:
        self._state = state

    def collect(self) -> Iterator[Any]:
        yield from self._models()
        yield from self._instances()
        state = self._state
        yield CounterMetricFamily("svc_router_retries", "Attempts after the first of a request.", state.retries)
        dropped = "Events that no registry was told: none answered for long, or it refused them."
        yield CounterMetricFamily("svc_router_events_dropped", dropped, state.news.dropped)
        yield GaugeMetricFamily("svc_router_idle_connections", "Kept to instances.", state.upstream_pool.idle_count())
        poisoned = CounterMetricFamily(
            "svc_router_poisoned_requests", "Requests that killed two instances, by key.", labels=["key"]
        )
        for name, count in state.poison_counts.items():
            poisoned.add_metric([name], count)
        yield poisoned
        if (age := state.age()) is not None:
            told = "Seconds since a registry last said that the table is so."
            yield GaugeMetricFamily("svc_router_table_age_seconds", told, age)
        queue = GaugeMetricFamily("svc_router_queue", "Requests that wait for an instance.", labels=MODEL)
        known: dict[str | None, int] = {model: 0 for target in state.table.targets for model in target.models}
        for model, length in (known | state.lines.lengths()).items():
            queue.add_metric([model or ""], length)
        yield queue
        buffered = "Bytes of request bodies over 64 KB, arriving and in flight."
        yield GaugeMetricFamily("svc_router_buffered_bytes", buffered, state.buffers.used)
        yield GaugeMetricFamily("svc_router_queue_limit", "Requests that may wait in all.", state.settings.queue_size)
        if state.keys is not None:
            keys = CounterMetricFamily("svc_router_key_requests", "Requests by key.", labels=["key"])
            for name, count in state.recorder.keys.items():
                keys.add_metric([name], count)
            yield keys

    def _models(self) -> Iterator[Any]:
        requests = CounterMetricFamily("svc_router_requests", "Requests that ended.", labels=["model", "status"])
        tokens = CounterMetricFamily("svc_router_tokens", "Tokens, as usage says.", labels=["model", "kind"])
        produced = CounterMetricFamily(
            "svc_router_produced_tokens", "Of completions: events of a stream, usage at the end.", labels=MODEL
        )
        failures = CounterMetricFamily(
            "svc_router_failures", "Requests that did not end well, by how they ended.", labels=["model", "kind"]
        )
        duration = HistogramMetricFamily("svc_router_request_duration_seconds", "Of whole requests.", labels=MODEL)
        first = HistogramMetricFamily("svc_router_ttft_seconds", "Of streams: until the first token.", labels=MODEL)
        token = HistogramMetricFamily("svc_router_tpot_seconds", "Of streams: a token after the first.", labels=MODEL)
        for model, meter in list(self._state.recorder.meters.items()):
            for status, count in list(meter.statuses.items()):
                requests.add_metric([model, str(status)], count)
            for kind, count in list(meter.tokens.items()):
                tokens.add_metric([model, kind], count)
            produced.add_metric([model], meter.produced)
            for kind, count in list(meter.failures.items()):
                failures.add_metric([model, kind], count)
            for family, told in ((duration, meter.duration), (first, meter.first_byte), (token, meter.token)):
                family.add_metric([model], _buckets(told), told.sum)
        yield from (requests, tokens, produced, failures, duration, first, token)

    def _instances(self) -> Iterator[Any]:
        state = self._state
        attempts = CounterMetricFamily("svc_router_attempts", "Attempts that ended.", labels=INSTANCE)
        errors = CounterMetricFamily("svc_router_attempt_errors", "Attempts that failed.", labels=INSTANCE)
        answered = CounterMetricFamily("svc_router_attempts_answered", "POSTs answered in whole.", labels=INSTANCE)
        seconds = CounterMetricFamily("svc_router_attempt_seconds", "Time spent in attempts.", labels=INSTANCE)
        ejections = CounterMetricFamily("svc_router_ejections", "How often it was ejected.", labels=INSTANCE)
        tokens = CounterMetricFamily(
            "svc_router_instance_tokens",
            "Of completions: events of a stream, usage at the end.",
            labels=INSTANCE,
        )
        first = SummaryMetricFamily(
            "svc_router_instance_ttft_seconds", "Of streams: until the first token.", labels=INSTANCE
        )
        flight = GaugeMetricFamily("svc_router_requests_in_flight", "Requests being served.", labels=INSTANCE)
        up = GaugeMetricFamily("svc_router_instance_up", "1 while the instance gets requests.", labels=INSTANCE)
        ejected = GaugeMetricFamily("svc_router_instance_ejected", "1 while it is ejected.", labels=INSTANCE)
        serving = GaugeMetricFamily("svc_router_model_instances", "Instances that get its requests.", labels=MODEL)
        able: Counter[str] = Counter()
        for target in state.table.targets:
            able.update(dict.fromkeys(target.models, target.name in state.table.candidates))
            name = [target.name]
            tally, fitness = state.tallies.get(target.name), state.fitness.get(target.name)
            attempts.add_metric(name, tally.requests if tally else 0)
            errors.add_metric(name, tally.errors if tally else 0)
            answered.add_metric(name, tally.answered if tally else 0)
            seconds.add_metric(name, tally.seconds if tally else 0)
            ejections.add_metric(name, tally.ejections if tally else 0)
            tokens.add_metric(name, tally.tokens if tally else 0)
            first.add_metric(name, tally.firsts if tally else 0, tally.first_seconds if tally else 0)
            flight.add_metric(name, state.loads.get(target.name, 0))
            up.add_metric(name, int(target.name in state.table.candidates))
            ejected.add_metric(name, int(fitness is not None and not fitness.usable()))
        for model, count in able.items():
            serving.add_metric([model], count)
        yield from (attempts, errors, answered, seconds, ejections, tokens, first, flight, up, ejected, serving)


def _buckets(told: Histogram) -> list[tuple[str, float]]:
    bounds = [*(f"{bound:g}" for bound in told.bounds), "+Inf"]
    return list(zip(bounds, accumulate(told.counts), strict=True))
