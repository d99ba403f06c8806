"""The fewest loads with which a trace can be served, if all of it is known in advance. Pure.

The question: at least how many loads need all schedules in which at most `places` models are loaded at once and no
request waits longer than `patience` seconds until its model is ready? A load takes `load_seconds`, in which the model
holds its place. Everything else is free for the best order: requests take no time, any number of models may load at
once, and a model may leave its place at any moment. So no real schedule needs fewer loads; the number is a lower bound.

A load is necessary when the oldest request of a model that is not loaded has waited `patience - load_seconds`. A load
that is postponed until the next necessary one serves at least the same requests, so all loads are at such moments.
There the models through which a place goes, and those that stay, can be chosen: all choices are followed, and one that
is nowhere better than another is dropped.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import combinations

Key = tuple[str, ...]
# By model: the time at which it left its place last. Requests since then wait for its next load.
Left = dict[str, float]


def fewest_loads(requests: Iterable[tuple[float, str]], places: int, patience: float, load_seconds: float) -> int:
    """Return the lower bound for requests (arrival, model). All places are empty at first."""
    arrivals: dict[str, list[float]] = {}
    for at, model in sorted(requests):
        arrivals.setdefault(model, []).append(at)
    delay = max(0.0, patience - load_seconds)
    if len(arrivals) <= places:
        return len(arrivals)
    return _Search(arrivals, places, delay).run()


class _State:
    """One way to have arrived at a moment: which models are loaded, and when the others left."""

    __slots__ = ("left", "loaded", "loads")

    def __init__(self, loaded: frozenset[str], left: Left, loads: int) -> None:
        self.loaded = loaded
        self.left = left
        self.loads = loads


class _Search:
    def __init__(self, arrivals: dict[str, list[float]], places: int, delay: float) -> None:
        self.arrivals = arrivals
        self.places = places
        self.delay = delay

    def run(self) -> int:
        states = [_State(frozenset(), dict.fromkeys(self.arrivals, float("-inf")), 0)]
        best = float("inf")
        while states:
            moment = min(self._next(state)[0] for state in states)
            later: list[_State] = []
            for state in states:
                due, model = self._next(state)
                if due == float("inf"):
                    best = min(best, state.loads)
                elif due > moment:
                    later.append(state)
                else:
                    later += self._loads(state, model, due)
            states = _undominated(later)
        return int(best)

    def _next(self, state: _State) -> tuple[float, str]:
        """Return when the next load has to begin, and of which model."""
        return min(((self._due(model, state.left[model]), model) for model in state.left), default=(float("inf"), ""))

    def _due(self, model: str, left: float) -> float:
        times = self.arrivals[model]
        index = bisect_right(times, left)
        return times[index] + self.delay if index < len(times) else float("inf")

    def _loads(self, state: _State, model: str, now: float) -> list[_State]:
        """Return the states after `model` and perhaps other models were loaded, some of them only for a moment."""
        others = [name for name in state.left if name != model]
        states = []
        for count in range(len(others) + 1):
            for also in combinations(others, count):
                states += self._choices(state, {model, *also}, now)
        return states

    def _choices(self, state: _State, new: set[str], now: float) -> list[_State]:
        """Return the states after the models `new` were loaded, one for each set of models that stay."""
        present = state.loaded | new
        if len(present) <= self.places:
            left = {name: at for name, at in state.left.items() if name not in new}
            return [_State(present, left, state.loads + len(new))]
        states = []
        for names in combinations(sorted(present), self.places):
            loaded = frozenset(names)
            left = {name: at for name, at in state.left.items() if name not in present}
            left.update(dict.fromkeys(present - loaded, now))
            states.append(_State(loaded, left, state.loads + len(new) + (loaded == state.loaded)))
        return states


def _undominated(states: Sequence[_State]) -> list[_State]:
    """Drop each state that another one can replace without more loads."""
    kept: list[_State] = []
    for state in sorted(states, key=lambda state: state.loads):
        if not any(other.loads + _replacing_loads(other, state) <= state.loads for other in kept):
            kept.append(state)
    return kept


def _replacing_loads(other: _State, state: _State) -> int:
    """Return how many loads `other` needs now, so that the same models are loaded and no model has left earlier."""
    absent = len(state.loaded - other.loaded)
    late = sum(model not in other.loaded and other.left[model] < at for model, at in state.left.items())
    return absent + late + (late > 0 and not absent)  # a model that stays gives its place to the late ones, and returns


def in_order_of_arrival(requests: Iterable[tuple[float, str]], places: int) -> int:
    """Return the loads if requests are served one by one as they come, and the model leaves that is needed last.

    This is Belady's rule: the best order without batches.
    """
    models = [model for _, model in sorted(requests)]
    following = [len(models)] * len(models)
    last: dict[str, int] = {}
    for index in range(len(models) - 1, -1, -1):
        following[index] = last.get(models[index], len(models))
        last[models[index]] = index
    loaded: dict[str, int] = {}  # model -> index of its next request
    loads = 0
    for index, model in enumerate(models):
        if model not in loaded:
            loads += 1
            if len(loaded) >= places:
                del loaded[max(loaded, key=loaded.__getitem__)]
        loaded[model] = following[index]
    return loads
