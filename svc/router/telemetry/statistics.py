"""Counts of requests, tokens and durations, by instance, model and API key, for the metrics and the page. Pure."""

from bisect import bisect_left
from collections import defaultdict
from typing import TypeVar

import msgspec

from svc.router.telemetry.request_tokens import NO_USAGE, Usage, read_usage

_BUCKETS_UP_TO_A_SECOND = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
DURATION_BUCKETS_SECONDS = (*_BUCKETS_UP_TO_A_SECOND, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
TOKEN_BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0)
USAGE_TAIL_BYTES = 1024  # the usage is searched in this many bytes at the end of a response
MAX_RETRY_AFTER_SECONDS = 60
DEFAULT_REQUEST_SECONDS = 1.0  # the assumed duration until the first request has ended
MAX_UNKNOWN_MODELS = 100  # limit for the names in `unknown_models`
MAX_UNKNOWN_MODEL_CHARS = 64
K = TypeVar("K")
RESUMPTION_OUTCOMES = ("resumed", "refused", "failed")
UNKNOWN_MODEL = "unknown"  # the label of every model that no instance has: clients may invent any number of names


class RequestRecord(msgspec.Struct, kw_only=True, gc=False):
    """The record of one relayed request. `first_byte` and `duration` are seconds since the request was read.

    `first_byte` is None if no response began.
    """

    time: str = ""
    id: str
    client: str
    key: str
    method: str
    path: str
    model: str
    instance: str
    status: int
    bytes: int
    first_byte: float | None
    duration: float
    attempts: int
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    end: str  # done, refused, failed, cut, timeout, client or stopping
    resumed: int | msgspec.UnsetType = msgspec.UNSET  # how often another instance has continued the answer
    instances: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET  # those that have served it, if there are several


class Histogram:
    """The number of values in each bucket. A scrape computes the cumulative counts that Prometheus needs."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def add(self, other: "Histogram") -> None:
        self.counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
        self.sum += other.sum


class InstanceStatistics:
    """The counts of one instance. They are kept after it has left the table, until its last request has ended."""

    __slots__ = (
        "answered",
        "ejections",
        "errors",
        "first_token_seconds",
        "first_tokens",
        "requests",
        "seconds",
        "tokens",
    )

    def __init__(self) -> None:
        self.requests = 0
        self.errors = 0
        self.answered = 0  # POST requests that got a whole response with status 2xx
        self.ejections = 0
        self.seconds = 0.0  # the duration of all requests together
        self.tokens = 0  # tokens of completions, from `usage`; in streams without it, each event counts as a token
        self.first_token_seconds = 0.0  # the time to the first token, of all streams together
        self.first_tokens = 0  # streams that had a first token

    def record_attempt(self, seconds: float, failed: bool, answered: bool) -> None:
        self.requests += 1
        self.seconds += seconds
        self.errors += failed
        self.answered += answered

    def add(self, other: "InstanceStatistics") -> None:
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def mean_seconds(self) -> float:
        """Return the mean duration of the instance's requests in seconds; 0 if there were none."""
        return self.seconds / self.requests if self.requests else 0.0


class ModelStatistics:
    """The counts of one model."""

    __slots__ = (
        "broken",
        "duration",
        "failures",
        "produced_tokens",
        "statuses",
        "time_per_token",
        "time_to_first_token",
        "tokens",
        "wake_wait",
    )

    def __init__(self) -> None:
        self.statuses: defaultdict[int, int] = defaultdict(int)
        self.failures: defaultdict[str, int] = defaultdict(int)  # `end` of a record, except "done" -> requests
        # The part of `failures` that happened after the head of a good response.
        self.broken: defaultdict[str, int] = defaultdict(int)
        self.tokens: defaultdict[str, int] = defaultdict(int)  # kind -> tokens, from `usage`
        self.produced_tokens = 0  # tokens of completions, from `usage` or from the events of streams
        self.duration = Histogram(DURATION_BUCKETS_SECONDS)
        self.time_to_first_token = Histogram(DURATION_BUCKETS_SECONDS)  # of event streams
        self.time_per_token = Histogram(TOKEN_BUCKETS_SECONDS)  # of event streams, without their first token
        self.wake_wait = Histogram(DURATION_BUCKETS_SECONDS)  # of requests that waited until an instance was awake

    def add(self, other: "ModelStatistics") -> None:
        self.produced_tokens += other.produced_tokens
        for name in ("statuses", "failures", "broken", "tokens"):
            _add_counts(getattr(self, name), getattr(other, name))
        for name in ("duration", "time_to_first_token", "time_per_token", "wake_wait"):
            getattr(self, name).add(getattr(other, name))


class Statistics:
    """All counts of a router since its start."""

    __slots__ = ("instances", "keys", "models", "resumptions", "unknown_models")

    def __init__(self) -> None:
        self.instances: defaultdict[str, InstanceStatistics] = defaultdict(InstanceStatistics)
        self.models: defaultdict[str, ModelStatistics] = defaultdict(ModelStatistics)
        self.keys: defaultdict[str, int] = defaultdict(int)  # name of an API key -> requests
        # What became of answers that broke off: "resumed", "refused" or "failed", a blank and the reason -> answers.
        self.resumptions: defaultdict[str, int] = defaultdict(int)
        # Name of a model that no instance has -> failed requests. The name that was used last is the last entry.
        self.unknown_models: dict[str, int] = {}

    def take(self) -> "Statistics | None":
        """Return all counts and start again from zero; return None if nothing was counted since the last call."""
        if not self.instances and not self.models and not self.keys and not self.resumptions:
            return None
        taken = Statistics()
        for name in Statistics.__slots__:
            empty = getattr(taken, name)
            setattr(taken, name, getattr(self, name))
            setattr(self, name, empty)
        return taken

    def add(self, other: "Statistics") -> None:
        """Add the counts of another process."""
        for name, instance in other.instances.items():
            self.instances[name].add(instance)
        for name, model in other.models.items():
            self.models[name].add(model)
        _add_counts(self.keys, other.keys)
        _add_counts(self.resumptions, other.resumptions)
        for name, count in other.unknown_models.items():
            self._record_unknown_model(name, count)

    def retry_after(self) -> int:
        """Return the seconds after which an instance may be free: the mean duration of a request, as a whole number."""
        requests = sum(instance.requests for instance in self.instances.values())
        seconds = sum(instance.seconds for instance in self.instances.values())
        return max(1, min(MAX_RETRY_AFTER_SECONDS, round(seconds / requests if requests else DEFAULT_REQUEST_SECONDS)))

    def record_tokens(self, instance: str, model: str, tokens: int, first_token: float | None = None) -> None:
        """Count tokens that an instance has produced.

        `first_token`: the seconds until the first token of a stream, given once for each stream.
        """
        of_instance, of_model = self.instances[instance], self.models[model]
        of_instance.tokens += tokens
        of_model.produced_tokens += tokens
        if first_token is not None:
            of_instance.first_token_seconds += first_token
            of_instance.first_tokens += 1
            of_model.time_to_first_token.observe(first_token)

    def record_request(self, record: RequestRecord, first_token: float | None, tail: bytes, label: str) -> Usage:
        """Count a request that has ended, and note the tokens of its usage in the record; return its usage.

        `first_token`: the seconds until the first token of a stream, None if there is none; `tail`: the parts of the
        response that contain its usage; `label`: the label of its model in metrics.
        """
        model = self.models[label]
        model.statuses[record.status] += 1
        model.duration.observe(record.duration)
        if record.end != "done":
            model.failures[record.end] += 1
            if record.status < 400:
                model.broken[record.end] += 1
        if label == UNKNOWN_MODEL and record.status >= 400:
            self._record_unknown_model(record.model[:MAX_UNKNOWN_MODEL_CHARS])
        if record.key:
            self.keys[record.key] += 1
        usage = read_usage(tail)
        record.prompt_tokens, record.completion_tokens = usage.prompt, usage.completion
        if usage is not NO_USAGE:
            _count_tokens(model.tokens, usage)
        if first_token is not None and record.completion_tokens and record.completion_tokens > 1:
            model.time_per_token.observe((record.duration - first_token) / (record.completion_tokens - 1))
        return usage

    def resumptions_by_outcome(self) -> dict[str, dict[str, int]]:
        """Return the number of answers that broke off, by what became of them and by the reason."""
        outcomes: dict[str, dict[str, int]] = {outcome: {} for outcome in RESUMPTION_OUTCOMES}
        for key, count in sorted(self.resumptions.items()):
            outcome, _, reason = key.partition(" ")
            outcomes[outcome][reason] = count
        return outcomes

    def _record_unknown_model(self, name: str, requests: int = 1) -> None:
        """Count failed requests for a model that no instance has; at the limit, drop the least recently used name."""
        count = self.unknown_models.pop(name, 0)
        if len(self.unknown_models) >= MAX_UNKNOWN_MODELS:
            del self.unknown_models[next(iter(self.unknown_models))]
        self.unknown_models[name] = count + requests


def _count_tokens(tokens: defaultdict[str, int], usage: Usage) -> None:
    if usage.prompt is not None:
        tokens["prompt"] += usage.prompt
    if usage.cached is not None:
        tokens["cached"] += usage.cached
    if usage.completion is not None:
        tokens["completion"] += usage.completion


def _add_counts(counts: dict[K, int], other: dict[K, int]) -> None:
    for key, count in other.items():
        counts[key] = counts.get(key, 0) + count
