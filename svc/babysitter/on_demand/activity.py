"""The requests in flight at an instance on demand, and how long it has had none.

The babysitter's own probes do not count: they would keep an idle instance awake.
"""

from collections.abc import Callable

import gevent

from svc.babysitter.engine_load import EngineLoadReader
from svc.babysitter.health_rules import UNKNOWN_LOAD, generated_between
from svc.babysitter.load_metrics import parse_load

READ_TIMEOUT_SECONDS = 2.0  # short, because a babysitter that does not report every 5 seconds counts as gone
MIN_AGE_SECONDS = 1.0  # without metrics of the engine, each reading is a request to llama.cpp's /slots or to the router


class Activity:
    """Counts the requests in flight by the engine's metrics, or else the router's: call `read` again and again.

    `probes` returns the number of probes that the babysitter has sent, and whether one is in flight.
    """

    def __init__(
        self, reader: EngineLoadReader, probes: Callable[[], tuple[int, bool]], clock: Callable[[], float]
    ) -> None:
        self._reader = reader
        self._probes = probes
        self._clock = clock
        self._load = UNKNOWN_LOAD
        self._sent = 0
        self._last_active = clock()
        self._read_at = float("-inf")
        self.in_flight: int | None = None  # at the last reading; None: not known

    @property
    def idle_seconds(self) -> float:
        """Return the seconds since a reading last showed a request."""
        return self._clock() - self._last_active

    def restart(self) -> None:
        """Forget the last reading, because the process has started or ended; the idle time begins anew."""
        self._load, self._last_active, self.in_flight = UNKNOWN_LOAD, self._clock(), None
        self._read_at = float("-inf")

    def read(self, max_age: float = 0.0) -> int | None:
        """Return the number of requests in flight, or None if neither the engine nor the router reports it in time.

        The engine's metrics may be `max_age` seconds old, other sources MIN_AGE_SECONDS; with 0, all are read anew.
        """
        is_page = self._load.source == "engine"
        if max_age and not is_page and self._clock() - self._read_at < max(max_age, MIN_AGE_SECONDS):
            return self.in_flight
        self._read_at = self._clock()
        load, running = UNKNOWN_LOAD, None
        with gevent.Timeout(READ_TIMEOUT_SECONDS, False):
            load = self._reader.read(max_age)
            running = load.running if load.running is not None else self._in_metrics(max_age)
        sent, is_probed = self._probes()
        has_probed = is_probed or sent != self._sent  # a probe that has just ended may still be in the metrics
        if running is None or running > has_probed or (not has_probed and generated_between(self._load, load)):
            self._last_active = self._clock()
        if running and is_probed:
            running -= 1
        self._load, self._sent, self.in_flight = load, sent, running
        return running

    def _in_metrics(self, max_age: float) -> int | None:
        """Return the number of requests in the metrics of an engine that has no counter of tokens, such as TGI."""
        page = self._reader.page.read(max_age)
        sample = parse_load(page[1]) if page else None
        return sample.running + sample.waiting if sample else None
