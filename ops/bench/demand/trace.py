"""The trace: sessions of users, each with one model, whose requests follow one another. Pure.

Most sessions want few of the models, and which these are changes with the hours, so that a good order needs few loads.
A model that is kept awake gets requests at an even rate all the time.
"""

import random
from dataclasses import dataclass

KEPT = "kept"


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceSettings:
    """Times are in units of a load: with loads of 30 s, `think` = 0.5 is 15 s."""

    requests: int = 5_000
    models: int = 6
    kept_share: float = 0.2  # of the requests, for the model that is kept awake
    hours: int = 8  # after each of them, other models are the popular ones
    sessions: float = 3.0  # that are open at once, on average
    turns: float = 60.0  # of a session, on average
    think: float = 0.5  # from one request of a session to the next, on average
    service: float = 0.1  # of a request, on average
    seed: int = 1


@dataclass(frozen=True, slots=True, order=True)
class Request:
    """A request of the trace; times are in units of a load."""

    at: float
    model: str
    seconds: float


def generate(settings: TraceSettings) -> list[Request]:
    """Return the requests in the order of their arrival."""
    source = random.Random(settings.seed)
    models = [f"model-{number}" for number in range(1, settings.models + 1)]
    count = round(settings.requests * (1 - settings.kept_share))
    length = count * settings.think / settings.sessions
    requests: list[Request] = []
    start = 0.0
    while len(requests) < count:
        start += source.expovariate(settings.sessions / (settings.turns * settings.think))
        model = _model(models, int(start / length * settings.hours), source)
        requests += _session(start, model, settings, source)
    requests = sorted(requests)[:count]
    rate = (settings.requests - count) / requests[-1].at  # of the model that is kept awake
    at = 0.0
    for _ in range(settings.requests - count):
        at += source.expovariate(rate)
        requests.append(Request(at, KEPT, _service(settings, source)))
    return sorted(requests)


def _model(models: list[str], hour: int, source: random.Random) -> str:
    """Return a model: the k-th of the hour's order is wanted in proportion to 1/k."""
    order = models[:]
    random.Random(hour).shuffle(order)
    return source.choices(order, [1 / place for place in range(1, len(order) + 1)])[0]


def _session(start: float, model: str, settings: TraceSettings, source: random.Random) -> list[Request]:
    requests, at = [], start
    while True:
        requests.append(Request(at, model, _service(settings, source)))
        if source.random() < 1 / settings.turns:
            return requests
        at += source.expovariate(1 / settings.think)


def _service(settings: TraceSettings, source: random.Random) -> float:
    return settings.service * source.uniform(0.5, 1.5)
