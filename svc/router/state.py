"""What the router knows and counts: one table, one tally an instance, who is fit. One process has the whole truth."""

import itertools
import logging
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Container, Iterable

from svc.errors import Unavailable
from svc.router import breaker
from svc.router.ask import Ask
from svc.router.breaker import Fitness
from svc.router.policy import PART, POLICIES, Moment
from svc.router.table import Table, Target, build
from svc.router.upstream import Connections
from svc.settings import RouterSettings

log = logging.getLogger(__name__)


class Tally:
    """The counts of one instance. They outlive its leaving the table: it may come back."""

    __slots__ = ("errors", "requests", "seconds")

    def __init__(self) -> None:
        self.requests = 0
        self.errors = 0
        self.seconds = 0.0  # of all requests together

    def response_time(self) -> float:
        """Seconds a request took, on average."""
        return self.seconds / self.requests if self.requests else 0.0


class State:
    """Everything that requests, checks and syncs share. `now` is monotonic and coarse: set at each sweep."""

    def __init__(self, settings: RouterSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self.settings = settings
        self.clock = clock
        self.now = clock()
        self.table = Table()
        self.ready = False  # whether there is a table at all
        self.draining = False
        self.connections = Connections()
        self.loads: dict[str, int] = {}  # requests in flight by instance
        self.tallies: dict[str, Tally] = {}
        self.fitness: dict[str, Fitness] = {}
        self.retries = 0
        self._choose = POLICIES[settings.policy]
        self._turns: defaultdict[str, itertools.count[int]] = defaultdict(itertools.count)
        self._lock = threading.RLock()  # one writer of the table at a time; nobody who reads it waits
        self._ids = itertools.count()
        self._id_prefix = random.randbytes(6).hex()

    # Requests.

    def request_id(self) -> bytes:
        return b"%b-%x" % (self._id_prefix.encode(), next(self._ids))

    def pick(self, ask: Ask, tried: Container[str] = ()) -> Target | None:
        """The instance for a request, None when all were tried; raises Unavailable when there never was one."""
        pool = self.table.pool(ask.model)
        if pool is None or not pool.members:
            raise Unavailable(no_services(ask.model))
        moment = Moment(self.loads, self._turns, random.random, self.settings.cache_type_threshold, tried)
        member = self._choose(pool, ask, moment)
        return member.target if member else None

    def begin(self, name: str) -> None:
        self.loads[name] = self.loads.get(name, 0) + 1

    def observe(self, name: str, seconds: float, failed: bool, unreachable: bool = False) -> None:
        """The one report of an attempt's end. `unreachable` counts against the instance's fitness."""
        self.loads[name] -= 1
        tally = self.tallies.get(name)
        if tally is None:
            tally = self.tallies[name] = Tally()
        tally.requests += 1
        tally.seconds += seconds
        if failed:
            tally.errors += 1
        if unreachable:
            self._judge(name, lambda before: breaker.failed(before, self.settings.max_errors))
        elif (before := self.fitness.get(name)) is not None and before.failures:
            self._judge(name, breaker.served)

    # Checks and syncs.

    def checked(self, name: str, well: bool) -> None:
        """What the router's own health check of an instance found."""
        self._judge(name, breaker.checked if well else lambda before: breaker.failed(before, self.settings.max_errors))

    def _judge(self, name: str, verdict: Callable[[Fitness], Fitness]) -> None:
        with self._lock:
            before = self.fitness.get(name, Fitness())
            after = self.fitness[name] = verdict(before)
            if after.well is not before.well:
                if before.well is not None or after.well is False:
                    log.info("%s is %s", name, "back" if after.well else f"out after {after.failures} failures")
                self.replace(self.table.targets)

    def replace(self, targets: Iterable[Target]) -> None:
        """A new table. An instance at another address, or started anew, is judged afresh."""
        with self._lock:
            before = {t.name: t for t in self.table.targets}
            found = tuple(targets)
            for target in found:
                old = before.get(target.name)
                if old is None or old.url != target.url or (target.status == "running" and old.status != "running"):
                    self.fitness.pop(target.name, None)
            well = {name: f.well for name, f in self.fitness.items() if f.well is not None}
            self.table = build(found, well)
            self._forget({t.name for t in found})

    def _forget(self, known: set[str]) -> None:
        """Nothing grows for ever: counts of who left go once nothing is in flight, turns of models with them."""
        for name in {*self.loads, *self.tallies, *self.fitness} - known:
            if not self.loads.get(name):
                for counts in (self.loads, self.tallies, self.fitness):
                    counts.pop(name, None)
        for key in [k for k in self._turns if k.partition(PART)[0] not in ("", *self.table.by_model)]:
            del self._turns[key]


def no_services(model: str | None) -> str:
    return f"No healthy services available for model '{model}'" if model else "No healthy services available"
