"""How fast the router's counts rise: pure."""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import NamedTuple

WINDOW = 5.0  # seconds that a rate is told of: requests that end together are no peak
EVERY = 2.0  # seconds between two points of the past
POINTS = 150  # of the past, for each model
MINUTE = 30  # points
SERIES = ("requests", "errors", "first_token", "tokens")


class Counts(NamedTuple):
    """What was counted so far, of a model or an instance."""

    requests: int = 0
    errors: int = 0
    tokens: int = 0
    first_seconds: float = 0.0  # until the first token, of all streams together
    firsts: int = 0  # of which there were so many


class Rates(NamedTuple):
    """Each second; `first_token` is the mean in seconds, None where no stream began to answer."""

    requests: float = 0.0
    errors: float = 0.0
    tokens: float = 0.0
    first_token: float | None = None


class Sample(NamedTuple):
    time: float  # of a clock that does not go back
    models: Mapping[str, Counts]
    instances: Mapping[str, Counts]


class Window:
    """The samples of the last seconds; before `begun` nothing was counted."""

    def __init__(self, begun: float) -> None:
        self._samples = deque([Sample(begun, {}, {})])

    def add(self, sample: Sample) -> None:
        self._samples.append(sample)
        while len(self._samples) > 2 and self._samples[1].time <= sample.time - WINDOW:
            self._samples.popleft()

    def model(self, name: str) -> Rates:
        return self._of(name, "models")

    def instance(self, name: str) -> Rates:
        return self._of(name, "instances")

    def _of(self, name: str, kind: str) -> Rates:
        """Of one that was not there at the beginning, from nothing on."""
        if len(self._samples) < 2:
            return Rates()
        first, last = self._samples[0], self._samples[-1]
        before, now = (getattr(sample, kind).get(name, Counts()) for sample in (first, last))
        return rates(before, now, last.time - first.time)


def rates(before: Counts, now: Counts, seconds: float) -> Rates:
    """Counts that went back began anew: an instance that left and returned."""
    if now.requests < before.requests:
        before = Counts()
    firsts = now.firsts - before.firsts
    return Rates(
        round((now.requests - before.requests) / seconds, 3),
        round((now.errors - before.errors) / seconds, 3),
        round((now.tokens - before.tokens) / seconds, 3),
        round((now.first_seconds - before.first_seconds) / firsts, 4) if firsts > 0 else None,
    )


class Lately:
    """Counts by kind, of each model, that rose within so many points: those of the plots' past."""

    def __init__(self, points: int = POINTS) -> None:
        self._samples: deque[Mapping[str, Mapping[str, int]]] = deque([{}], points + 1)

    def add(self, counts: Mapping[str, Mapping[str, int]]) -> None:
        self._samples.append(counts)

    def of(self, model: str, now: Mapping[str, int]) -> dict[str, int]:
        before = self._samples[0].get(model, {})
        return {kind: count - before.get(kind, 0) for kind, count in now.items() if count > before.get(kind, 0)}


class Past:
    """The rates of each model, one point every EVERY seconds; a model that is new has a past of zeros."""

    def __init__(self) -> None:
        self._series: dict[str, deque[Rates]] = {}
        self._length = 0

    def add(self, told: Mapping[str, Rates]) -> None:
        """Of all models that there are; the others are forgotten."""
        for name in self._series.keys() - told.keys():
            del self._series[name]
        for name, now in told.items():
            self._series.setdefault(name, deque([Rates()] * self._length, POINTS)).append(now)
        self._length = min(self._length + 1, POINTS)

    def columns(self) -> dict[str, dict[str, list[float | None]]]:
        return {name: _columns(points) for name, points in self._series.items()}


def _columns(points: Iterable[Rates]) -> dict[str, list[float | None]]:
    found = list(points)
    return {name: [getattr(point, name) for point in found] for name in SERIES}
