"""Parse those metrics of the router that commands and babysitters need. Pure."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from svc.base.counter_rates import Counts

PREFIX = "svc_router_"
STATUS_CLIENT_CLOSED_REQUEST = "499"  # not an error: the client closed the connection
FAILURES_WITHOUT_STATUS = ("cut",)  # the stream broke after the status was sent
UP, FAILING, EJECTED, ASLEEP = "up", "failing", "ejected", "asleep"
UNUSED = "unused"  # state of an instance that is not up; the metrics do not show the reason
MARK_METRICS = tuple(f"svc_router_instance_{mark}" for mark in ("up", "ejected", "failing", "asleep"))

Samples = Mapping[str, Sequence[tuple[Mapping[str, str], float]]]


class InstanceTraffic(NamedTuple):
    """Whether an instance gets new requests, and how many requests are in flight there."""

    is_up: bool
    in_flight: int


class RouterRequests(NamedTuple):
    """The load of each instance, and the progress of handovers.

    `handovers` has each instance whose streams move to other instances. Its value maps `moving`, and each reason why
    requests stay, to a number of requests. An older router reports no handovers.
    """

    loads: Mapping[str, InstanceTraffic]
    handovers: Mapping[str, Mapping[str, int]]


class InstanceMarks(NamedTuple):
    """Whether an instance gets requests, and whether it is ejected, failing or asleep."""

    is_up: bool
    is_ejected: bool
    is_failing: bool
    is_asleep: bool = False  # an older router does not report it


class RouterScrape(NamedTuple):
    """The metrics that `svc top` shows, as a router reported them at `time` (Unix seconds)."""

    time: float
    models: Mapping[str, Counts]
    instances: Mapping[str, Counts]
    queue: Mapping[str, int]  # model -> number of queued requests; "" stands for requests for any model
    serving: Mapping[str, int]  # model -> number of instances
    in_flight: Mapping[str, int]  # instance -> number of requests in flight
    states: Mapping[str, str]  # instance -> state: up, failing, ejected, asleep, unused
    asleep: Mapping[str, int]  # model with instances on demand -> 1 while requests wait until an instance is awake


def parse_metrics(text: str, now: float) -> RouterScrape:
    """Return the parsed /metrics of a router, read at `now`; raise ValueError for the metrics of another program."""
    samples = _samples(text)
    if not samples:
        raise ValueError("no metric of a router")
    return RouterScrape(
        now,
        _models(samples),
        _instances(samples),
        _counts(samples, "svc_router_queue", "model"),
        _counts(samples, "svc_router_model_instances", "model"),
        _counts(samples, "svc_router_requests_in_flight"),
        {name: _state(marks) for name, marks in _marks(samples).items()},
        _counts(samples, "svc_router_model_asleep", "model"),
    )


def instance_marks(text: str) -> dict[str, InstanceMarks]:
    """Return the marks of each instance that the router knows."""
    return _marks(_samples(text, *MARK_METRICS))


def instance_loads(text: str) -> dict[str, InstanceTraffic]:
    """Return the load of each instance."""
    return _loads(_samples(text, "svc_router_instance_up", "svc_router_requests_in_flight"))


def router_requests(text: str) -> RouterRequests:
    """Return the load of each instance, and the progress of handovers."""
    handover = "svc_router_handover_requests"
    samples = _samples(text, "svc_router_instance_up", "svc_router_requests_in_flight", handover)
    handovers: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for labels, value in samples.get(handover, ()):
        handovers[labels["instance"]][labels["state"]] = int(value)
    return RouterRequests(_loads(samples), handovers)


def queue_lengths(text: str) -> dict[str, int]:
    """Return the number of queued requests for each model; "" stands for requests for any model."""
    return _counts(_samples(text, "svc_router_queue"), "svc_router_queue", "model")


def poisoned_requests(text: str) -> dict[str, int]:
    """Return, for each API key name, how many of its requests have killed two instances; omit keys without any."""
    metric = "svc_router_poisoned_requests_total"
    return {key: count for key, count in _counts(_samples(text, metric), metric, "key").items() if count}


def unwritten_usage(text: str) -> int:
    """Return how many requests are missing in the usage file because the router cannot write it.

    Return 0 if none is missing, or if the router has no usage file.
    """
    metric = "svc_router_usage_unwritten_requests"
    return round(sum(value for _, value in _samples(text, metric).get(metric, [])))


def answered_attempts(text: str, instance: str) -> tuple[float, int | None] | None:
    """Return how many attempts an instance has answered, and how many requests it has in flight.

    Return None if the router does not know the instance.
    """
    samples = _samples(text, "svc_router_attempts_answered_total", "svc_router_requests_in_flight")
    answered = _by_label(samples, "svc_router_attempts_answered_total").get(instance)
    return None if answered is None else (answered, _counts(samples, "svc_router_requests_in_flight").get(instance))


def _samples(text: str, *metrics: str) -> Samples:
    """Return the samples of `metrics`, or of all the router's metrics if `metrics` is empty; raise ValueError.

    Only the lines of these metrics are parsed, because the metrics of a large fleet have many other lines.
    """
    # Imported here, because the import takes 45 ms, and `svc up` imports this module but reads no metrics.
    from prometheus_client.parser import text_string_to_metric_families

    starts = tuple(f"{metric}{end}" for metric in metrics for end in ("{", " ")) or (PREFIX,)
    whole, _, _ = text.rpartition("\n")  # a truncated text ends in the middle of a line
    lines = [line for line in whole.split("\n") if line.startswith(starts)]
    samples: defaultdict[str, list[tuple[Mapping[str, str], float]]] = defaultdict(list)
    for family in text_string_to_metric_families("\n".join([*lines, ""])):
        for sample in family.samples:
            samples[sample.name].append((sample.labels, sample.value))
    return samples


def _models(samples: Samples) -> dict[str, Counts]:
    requests: defaultdict[str, int] = defaultdict(int)
    errors: defaultdict[str, int] = defaultdict(int)
    for labels, value in samples.get("svc_router_requests_total", ()):
        requests[labels["model"]] += int(value)
        if labels["status"] >= "400" and labels["status"] != STATUS_CLIENT_CLOSED_REQUEST:
            errors[labels["model"]] += int(value)
    for labels, value in samples.get("svc_router_failures_total", ()):
        if labels["kind"] in FAILURES_WITHOUT_STATUS:
            errors[labels["model"]] += int(value)
    tokens = _by_label(samples, "svc_router_produced_tokens_total", "model")
    seconds = _by_label(samples, "svc_router_ttft_seconds_sum", "model")
    streams = _by_label(samples, "svc_router_ttft_seconds_count", "model")
    return {  # models with a token counter: unlike the other counters, it exists while the first request runs
        name: Counts(requests[name], errors[name], int(count), seconds.get(name, 0.0), int(streams.get(name, 0)))
        for name, count in tokens.items()
    }


def _instances(samples: Samples) -> dict[str, Counts]:
    requests, errors = (
        _by_label(samples, metric) for metric in ("svc_router_attempts_total", "svc_router_attempt_errors_total")
    )
    tokens = _by_label(samples, "svc_router_instance_tokens_total")
    seconds = _by_label(samples, "svc_router_instance_ttft_seconds_sum")
    streams = _by_label(samples, "svc_router_instance_ttft_seconds_count")
    return {
        name: Counts(
            int(count),
            int(errors.get(name, 0)),
            int(tokens.get(name, 0)),
            seconds.get(name, 0.0),
            int(streams.get(name, 0)),
        )
        for name, count in requests.items()
    }


def _loads(samples: Samples) -> dict[str, InstanceTraffic]:
    up = _by_label(samples, "svc_router_instance_up")
    in_flight = _counts(samples, "svc_router_requests_in_flight")
    return {name: InstanceTraffic(bool(up.get(name)), count) for name, count in in_flight.items()}


def _marks(samples: Samples) -> dict[str, InstanceMarks]:
    up, *others = (_by_label(samples, metric) for metric in MARK_METRICS)
    return {name: InstanceMarks(bool(up[name]), *(bool(other.get(name)) for other in others)) for name in up}


def _state(marks: InstanceMarks) -> str:
    if marks.is_up:
        return FAILING if marks.is_failing else UP
    return ASLEEP if marks.is_asleep else EJECTED if marks.is_ejected else UNUSED


def _by_label(samples: Samples, metric: str, label: str = "instance") -> dict[str, float]:
    return {labels[label]: value for labels, value in samples.get(metric, ()) if label in labels}


def _counts(samples: Samples, metric: str, label: str = "instance") -> dict[str, int]:
    return {name: int(value) for name, value in _by_label(samples, metric, label).items()}
