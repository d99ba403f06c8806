"""Rates of the router's counters: the current rates over the last seconds, and a history for plots. Pure."""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import NamedTuple

WINDOW_SECONDS = 5.0  # a rate is the mean over this window, so that requests that end together make no peak
POINT_INTERVAL_SECONDS = 2.0  # time between two points of the history
MAX_POINTS = 150  # maximum length of a model's history
POINTS_PER_MINUTE = 30
SERIES = ("requests", "errors", "first_token", "tokens")


class Counts(NamedTuple):
    """The counters of one model or instance."""

    requests: int = 0
    errors: int = 0
    tokens: int = 0
    ttft_seconds: float = 0.0  # sum of the times to the first token
    ttft_streams: int = 0  # number of streams that have sent their first token


class Rates(NamedTuple):
    """Requests, errors and tokens per second.

    `first_token` is the mean time to the first token in seconds; None if no stream has sent its first token.
    """

    requests: float = 0.0
    errors: float = 0.0
    tokens: float = 0.0
    first_token: float | None = None


class Sample(NamedTuple):
    """The counters of all models and instances at one moment."""

    time: float  # seconds of a monotonic clock
    models: Mapping[str, Counts]
    instances: Mapping[str, Counts]


class RateWindow:
    """The samples of the last WINDOW_SECONDS, and the rates between the first and the last of them."""

    def __init__(self, start: float) -> None:
        self._samples = deque([Sample(start, {}, {})])  # all counters are zero at the start

    def add(self, sample: Sample) -> None:
        self._samples.append(sample)
        while len(self._samples) > 2 and self._samples[1].time <= sample.time - WINDOW_SECONDS:
            self._samples.popleft()

    def model(self, name: str) -> Rates:
        return self._rates(name, "models")

    def instance(self, name: str) -> Rates:
        return self._rates(name, "instances")

    def _rates(self, name: str, kind: str) -> Rates:
        """Return the rates of one model or instance; the counters of a new one start at zero."""
        if len(self._samples) < 2:
            return Rates()
        first, last = self._samples[0], self._samples[-1]
        before, now = (getattr(sample, kind).get(name, Counts()) for sample in (first, last))
        return rates(before, now, last.time - first.time)


def rates(before: Counts, now: Counts, seconds: float) -> Rates:
    """Return the rates between two readings of the counters, taken `seconds` apart.

    If the counters have decreased, they were reset: the instance was removed and added again.
    """
    if now.requests < before.requests:
        before = Counts()
    streams = now.ttft_streams - before.ttft_streams
    return Rates(
        round((now.requests - before.requests) / seconds, 3),
        round((now.errors - before.errors) / seconds, 3),
        round((now.tokens - before.tokens) / seconds, 3),
        round((now.ttft_seconds - before.ttft_seconds) / streams, 4) if streams > 0 else None,
    )


class RecentCounts:
    """The increase of each model's counters, such as one for each kind of error, over the last `points` samples."""

    def __init__(self, points: int = MAX_POINTS) -> None:
        self._samples: deque[Mapping[str, Mapping[str, int]]] = deque([{}], points + 1)

    def add(self, counts: Mapping[str, Mapping[str, int]]) -> None:
        self._samples.append(counts)

    def increase(self, model: str, now: Mapping[str, int]) -> dict[str, int]:
        """Return the increase of each counter of `model` that has increased; `now` has the current values."""
        before = self._samples[0].get(model, {})
        return {kind: count - before.get(kind, 0) for kind, count in now.items() if count > before.get(kind, 0)}


class RateHistory:
    """The past rates of each model, one point every POINT_INTERVAL_SECONDS; a new model begins with zeros."""

    def __init__(self) -> None:
        self._series: dict[str, deque[Rates]] = {}
        self._length = 0

    def add(self, current: Mapping[str, Rates]) -> None:
        """Add a point for each model in `current`; drop the history of all other models."""
        for name in self._series.keys() - current.keys():
            del self._series[name]
        for name, now in current.items():
            self._series.setdefault(name, deque([Rates()] * self._length, MAX_POINTS)).append(now)
        self._length = min(self._length + 1, MAX_POINTS)

    def columns(self) -> dict[str, dict[str, list[float | None]]]:
        return {name: _columns(points) for name, points in self._series.items()}


def _columns(points: Iterable[Rates]) -> dict[str, list[float | None]]:
    rates_of_points = list(points)
    return {name: [getattr(point, name) for point in rates_of_points] for name in SERIES}
