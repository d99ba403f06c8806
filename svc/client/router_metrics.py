"""One scrape of the router's metrics, as far as `svc top` needs it. Pure."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from svc.base.counter_rates import Counts

LEFT = "499"  # its client left: nobody's error
BROKEN = ("cut",)  # what no status tells
OURS = "svc_router_"
UP, EJECTED, UNUSED = "up", "ejected", "unused"  # the metrics do not tell why an instance is not used

Samples = Mapping[str, Sequence[tuple[Mapping[str, str], float]]]


class Look(NamedTuple):
    """One scrape."""

    time: float
    models: Mapping[str, Counts]
    instances: Mapping[str, Counts]
    queue: Mapping[str, int]  # by model; "": those to whom any will do
    serving: Mapping[str, int]  # instances by model
    in_flight: Mapping[str, int]  # by instance
    states: Mapping[str, str]  # of instances: up, ejected, unused


def read(text: str, now: float) -> Look:
    """Raises ValueError for what is no exposition, and for one of something else."""
    found: defaultdict[str, list[tuple[Mapping[str, str], float]]] = defaultdict(list)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name].append((sample.labels, sample.value))
    if not any(name.startswith(OURS) for name in found):
        raise ValueError("no metric of a router")
    up, ejected = _by(found, "svc_router_instance_up"), _by(found, "svc_router_instance_ejected")
    return Look(
        now,
        _models(found),
        _instances(found),
        _whole(_by(found, "svc_router_queue", "model")),
        _whole(_by(found, "svc_router_model_instances", "model")),
        _whole(_by(found, "svc_router_requests_in_flight")),
        {name: UP if up[name] else EJECTED if ejected.get(name) else UNUSED for name in up},
    )


def _models(found: Samples) -> dict[str, Counts]:
    requests: defaultdict[str, int] = defaultdict(int)
    errors: defaultdict[str, int] = defaultdict(int)
    for labels, value in found.get("svc_router_requests_total", ()):
        requests[labels["model"]] += int(value)
        if labels["status"] >= "400" and labels["status"] != LEFT:
            errors[labels["model"]] += int(value)
    for labels, value in found.get("svc_router_failures_total", ()):
        if labels["kind"] in BROKEN:
            errors[labels["model"]] += int(value)
    tokens = _by(found, "svc_router_produced_tokens_total", "model")
    seconds = _by(found, "svc_router_ttft_seconds_sum", "model")
    firsts = _by(found, "svc_router_ttft_seconds_count", "model")
    return {  # the first request of a model may be a stream that goes on
        name: Counts(requests[name], errors[name], int(count), seconds.get(name, 0.0), int(firsts.get(name, 0)))
        for name, count in tokens.items()
    }


def _instances(found: Samples) -> dict[str, Counts]:
    requests, errors = _by(found, "svc_router_attempts_total"), _by(found, "svc_router_attempt_errors_total")
    tokens = _by(found, "svc_router_instance_tokens_total")
    seconds = _by(found, "svc_router_instance_ttft_seconds_sum")
    firsts = _by(found, "svc_router_instance_ttft_seconds_count")
    return {
        name: Counts(
            int(count),
            int(errors.get(name, 0)),
            int(tokens.get(name, 0)),
            seconds.get(name, 0.0),
            int(firsts.get(name, 0)),
        )
        for name, count in requests.items()
    }


def _by(found: Samples, metric: str, label: str = "instance") -> dict[str, float]:
    return {labels[label]: value for labels, value in found.get(metric, ())}


def _whole(told: Mapping[str, float]) -> dict[str, int]:
    return {name: int(value) for name, value in told.items()}
