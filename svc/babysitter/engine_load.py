"""Read the load of an engine for the hang probe: the tokens that it has generated, and the requests in progress.

The load that routers use has other fields; `load_metrics.py` reads it from the same page of metrics.

The load is read from the first of these sources that reports it:

1. The engine's /metrics: vLLM, sglang (--enable-metrics), llama.cpp (--metrics), `svc mock`. The names of the metrics
differ from engine to engine.
2. llama.cpp's /slots, which exists without --metrics.
3. The router's /metrics, if its address is known. The router counts completed responses, so its counter changes less
often than a counter of tokens.
"""

import json
import re
from collections.abc import Callable, Sequence
from time import monotonic

from svc.babysitter.health_rules import UNKNOWN_LOAD, EngineLoad
from svc.client.router import METRICS_PATH
from svc.client.router_metrics import answered_attempts

READ_TIMEOUT_SECONDS = 5.0
VALUE = r"(?:\{.*\})? (\S+)"
TOKEN_COUNTERS = re.compile(
    rf"^[a-z]\w*[:_](?:generation_tokens|prompt_tokens|tokens_predicted|realtime_tokens|n_decode)_total{VALUE}", re.M
)
REQUEST_GAUGES = re.compile(
    r"^[a-z]\w*[:_](?:num_requests_running|num_requests_waiting|requests_processing|requests_deferred"
    rf"|num_running_reqs|num_queue_reqs){VALUE}",
    re.M,
)
SLOT_PROGRESS_FIELDS = ("id", "id_task", "n_prompt_tokens_processed", "next_token")  # they change while a slot works

GetText = Callable[[str, float], str | None]


class MetricsPage:
    """An engine's /metrics, at the first of `urls` that answers. Readers that accept an older page share one GET."""

    def __init__(self, urls: Sequence[str], get: GetText, clock: Callable[[], float] = monotonic) -> None:
        self.urls = tuple(dict.fromkeys(urls))
        self.get = get
        self._clock = clock
        self._last: tuple[str, str] | None = None
        self._last_at = float("-inf")

    def read(self, max_age: float = 0.0) -> tuple[str, str] | None:
        """Return the URL that answers and the text, from the last GET if that is at most `max_age` seconds old.

        Return None if no URL answers. The text is empty if the engine answers with an error.
        """
        started = self._clock()
        if self._last is None or started - self._last_at > max_age:
            self._last, self._last_at = self._read(started + READ_TIMEOUT_SECONDS), started
        return self._last

    def _read(self, deadline: float) -> tuple[str, str] | None:
        for url in self.urls:
            remaining = deadline - self._clock()
            text = self.get(f"{url}/metrics", remaining) if remaining > 0 else None
            if text is not None:
                return url, text
        return None


class EngineLoadReader:
    """Reads the load of one instance: from its engine, else from the router.

    `name` is the instance's name at the router. `get_router` sends a GET to the router.
    """

    def __init__(self, page: MetricsPage, router_url: str, name: str, get_router: GetText) -> None:
        self.page = page
        self.router_url = router_url
        self.name = name
        self.get_router = get_router

    def read(self, max_age: float = 0.0) -> EngineLoad:
        """Return the load, or UNKNOWN_LOAD if no source reports it. The metrics may be `max_age` seconds old."""
        answer = self.page.read(max_age)
        if answer is not None:
            url, text = answer
            load = parse_engine(text) or parse_slots(self.page.get(f"{url}/slots", READ_TIMEOUT_SECONDS) or "")
            if load:
                return load
        if self.router_url:
            metrics = self.get_router(f"{self.router_url}{METRICS_PATH}", READ_TIMEOUT_SECONDS)
            return parse_router(metrics or "", self.name) or UNKNOWN_LOAD
        return UNKNOWN_LOAD


def parse_engine(text: str) -> EngineLoad | None:
    """Return the load that an engine's /metrics reports, or None if it contains no counter of tokens."""
    counters, gauges = TOKEN_COUNTERS.findall(text), REQUEST_GAUGES.findall(text)
    if not counters:
        return None
    try:
        running = sum(int(float(count)) for count in gauges) if gauges else None
    except (ValueError, OverflowError):  # a gauge is NaN, infinite or no number
        running = None
    return EngineLoad("engine", tuple(counters), running)


def parse_slots(text: str) -> EngineLoad | None:
    """Return the load in llama.cpp's /slots, a list with the progress of each slot; None for any other text."""
    try:
        slots = json.loads(text) if text.startswith("[") else []
        progress = tuple(repr([slot.get(key) for key in SLOT_PROGRESS_FIELDS]) for slot in slots)
        running = sum(bool(slot["is_processing"]) for slot in slots)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return EngineLoad("slots", progress, running) if progress else None


def parse_router(text: str, name: str) -> EngineLoad | None:
    """Return the load of one instance from the router's /metrics, or None if the router has no such instance."""
    try:
        attempts = answered_attempts(text, name)
    except ValueError:  # a program other than the router listens at this address
        return None
    return EngineLoad("router", (str(attempts[0]),), attempts[1]) if attempts else None
