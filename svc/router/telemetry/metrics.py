"""The router's metrics for Prometheus, created from its counts at each scrape.

The number of labels is bounded: only known models and instances are labels.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from svc.protocol.service import ASLEEP
from svc.router.state import RouterState
from svc.router.telemetry.statistics import Histogram, InstanceStatistics
from svc.router.usage.ledger import Ledger

INSTANCE, MODEL = ["instance"], ["model"]
NO_STATISTICS = InstanceStatistics()  # for an instance that has had no requests


class RouterMetrics(Collector):
    def __init__(self, state: RouterState) -> None:
        self._state = state

    def collect(self) -> Iterator[Metric]:
        yield from self._models()
        yield from self._instances()
        state = self._state
        retries = state.balancer.retries
        yield CounterMetricFamily("svc_router_retries", "Attempts after the first of a request.", retries)
        resumed = CounterMetricFamily(
            "svc_router_resumed", "Streamed answers that broke off, by what came of them.", labels=["outcome", "reason"]
        )
        for outcome, reasons in state.statistics.resumptions_by_outcome().items():
            for reason, count in reasons.items():
                resumed.add_metric([outcome, reason], count)
        yield resumed
        dropped = "Events that no registry was told: none answered for long, or it refused them."
        yield CounterMetricFamily("svc_router_events_dropped", dropped, state.event_reporter.dropped)
        yield GaugeMetricFamily("svc_router_idle_connections", "Kept to instances.", state.idle_connections())
        poisoned = CounterMetricFamily(
            "svc_router_poisoned_requests", "Requests that killed two instances, by key.", labels=["key"]
        )
        for name, count in state.poison_counts.items():
            poisoned.add_metric([name], count)
        yield poisoned
        if (age := state.table_age()) is not None:
            help_text = "Seconds since a registry last said that the table is so."
            yield GaugeMetricFamily("svc_router_table_age_seconds", help_text, age)
        yield self._queue()
        yield from self._wakes()
        buffered = "Bytes of request bodies over 64 KB, arriving and in flight."
        yield GaugeMetricFamily("svc_router_buffered_bytes", buffered, state.buffered_bytes())
        yield GaugeMetricFamily("svc_router_queue_limit", "Requests that may wait in all.", state.settings.queue_size)
        if state.keys is not None:
            keys = CounterMetricFamily("svc_router_key_requests", "Requests by key.", labels=["key"])
            for name, count in state.statistics.keys.items():
                keys.add_metric([name], count)
            yield keys
        if state.ledger is not None:
            yield from _usage(state.ledger)

    def _wakes(self) -> Iterator[Metric]:
        """Yield the wakes of each model, and how long its requests have waited for them."""
        state = self._state
        wakes = CounterMetricFamily("svc_router_wakes", "How often it was chosen to wake an instance.", labels=MODEL)
        for model, count in list(state.balancer.wakes.wake_counts.items()):
            wakes.add_metric([model], count)
        help_text = "Of requests that waited until an instance was awake: the wait."
        waits = HistogramMetricFamily("svc_router_wake_wait_seconds", help_text, labels=MODEL)
        for model, statistics in list(state.statistics.models.items()):
            if any(statistics.wake_wait.counts):
                waits.add_metric([model], _buckets(statistics.wake_wait), statistics.wake_wait.sum)
        yield from (wakes, waits)

    def _queue(self) -> Metric:
        balancer = self._state.balancer
        queue = GaugeMetricFamily("svc_router_queue", "Requests that wait for an instance.", labels=MODEL)
        empty: dict[str | None, int] = {model: 0 for target in balancer.table.targets for model in target.models}
        for model, length in (empty | balancer.queue.lengths()).items():
            queue.add_metric([model or ""], length)
        return queue

    def _models(self) -> Iterator[Metric]:
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
        for name, model in list(self._state.statistics.models.items()):
            for status, count in list(model.statuses.items()):
                requests.add_metric([name, str(status)], count)
            for kind, count in list(model.tokens.items()):
                tokens.add_metric([name, kind], count)
            produced.add_metric([name], model.produced_tokens)
            for kind, count in list(model.failures.items()):
                failures.add_metric([name, kind], count)
            for family, histogram in (
                (duration, model.duration),
                (first, model.time_to_first_token),
                (token, model.time_per_token),
            ):
                family.add_metric([name], _buckets(histogram), histogram.sum)
        yield from (requests, tokens, produced, failures, duration, first, token)

    def _instances(self) -> Iterator[Metric]:
        state, table = self._state, self._state.balancer.table
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
        in_flight = GaugeMetricFamily("svc_router_requests_in_flight", "Requests being served.", labels=INSTANCE)
        up = GaugeMetricFamily("svc_router_instance_up", "1 while the instance gets requests.", labels=INSTANCE)
        ejected = GaugeMetricFamily("svc_router_instance_ejected", "1 while it is ejected.", labels=INSTANCE)
        failing = GaugeMetricFamily("svc_router_instance_failing", "1 while most answers are 500.", labels=INSTANCE)
        serving = GaugeMetricFamily("svc_router_model_instances", "Instances that get its requests.", labels=MODEL)
        asleep = GaugeMetricFamily("svc_router_instance_asleep", "1 while it is asleep.", labels=INSTANCE)
        waking = GaugeMetricFamily("svc_router_model_asleep", "1 while requests wait until one is awake.", labels=MODEL)
        instances_by_model: Counter[str] = Counter()
        for target in table.targets:
            instances_by_model.update(dict.fromkeys(target.models, target.name in table.candidates))
            label = [target.name]
            instance = state.statistics.instances.get(target.name) or NO_STATISTICS
            attempts.add_metric(label, instance.requests)
            errors.add_metric(label, instance.errors)
            answered.add_metric(label, instance.answered)
            seconds.add_metric(label, instance.seconds)
            ejections.add_metric(label, instance.ejections)
            tokens.add_metric(label, instance.tokens)
            first.add_metric(label, instance.first_tokens, instance.first_token_seconds)
            in_flight.add_metric(label, state.balancer.loads.get(target.name, 0))
            up.add_metric(label, int(target.name in table.candidates))
            ejected.add_metric(label, int(state.health.is_ejected(target.name)))
            failing.add_metric(label, int(state.health.is_failing(target, table)))
            asleep.add_metric(label, int(target.status == ASLEEP))
        for model, count in instances_by_model.items():
            serving.add_metric([model], count)
            waking.add_metric([model], int(model in table.asleep and state.balancer.wakes.may_wait(model, table)))
        yield self._handovers()
        yield from (attempts, errors, answered, seconds, ejections, tokens, first, in_flight)
        yield from (up, ejected, failing, asleep, serving, waking)

    def _handovers(self) -> Metric:
        """Return the requests at instances that hand over; others are left out, as their counts may be old."""
        state = self._state
        help_text = "At instances that hand over: requests that move, and that stay and why."
        handovers = GaugeMetricFamily("svc_router_handover_requests", help_text, labels=["instance", "state"])
        for (name, reason), count in state.handover_counts().items():
            if name in state.balancer.table.handovers:
                handovers.add_metric([name, reason], count)
        return handovers


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    bounds = [*(f"{bound:g}" for bound in histogram.bounds), "+Inf"]
    return list(zip(bounds, accumulate(histogram.counts), strict=True))


def _usage(ledger: Ledger) -> Iterator[Metric]:
    """Yield what each key has used of each model since the start, and the requests that the ledger could not write.

    A running stream's tokens are estimates, which its end may lower. A counter must not fall, so it shows the highest
    total so far.
    """
    labels = ["key", "model"]
    requests = CounterMetricFamily("svc_router_usage_requests", "Requests that ended, by key.", labels=labels)
    failed = CounterMetricFamily("svc_router_usage_failed_requests", "Of these, requests that failed.", labels=labels)
    tokens = CounterMetricFamily(
        "svc_router_usage_tokens", "Tokens by key, reported or estimated.", labels=[*labels, "kind"]
    )
    streaming = CounterMetricFamily("svc_router_usage_stream_seconds", "Time of streams, by key.", labels=labels)
    queued = CounterMetricFamily("svc_router_usage_queue_seconds", "Time in the queue, by key.", labels=labels)
    for (key, model), total in list(ledger.totals.items()):
        label = [key, model]
        requests.add_metric(label, total.requests)
        failed.add_metric(label, total.failed)
        streaming.add_metric(label, total.stream_seconds)
        queued.add_metric(label, total.queue_seconds)
        for kind in ("prompt", "cached", "completion"):
            tokens.add_metric([*label, kind], ledger.highest(key, model, kind))
    yield from (requests, failed, tokens, streaming, queued)
    unwritten = "Requests whose usage waits to be written: the file cannot be used."
    yield GaugeMetricFamily("svc_router_usage_unwritten_requests", unwritten, ledger.unwritten_requests())
    yield CounterMetricFamily("svc_router_usage_write_failures", "Writes of usage_file that failed.", ledger.failures)
