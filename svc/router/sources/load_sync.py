"""Keeps the loads of the engines up to date, which babysitters report to the registry."""

import logging
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from svc.base.errors import SvcError, Unavailable
from svc.protocol.instance_load import MAX_AGE_INTERVALS, ListedLoad
from svc.router.state import RouterState
from svc.settings import RouterSettings

if TYPE_CHECKING:  # not at run time: a router without a registry does not load the registry's client
    from svc.client.registry import RegistryClient

log = logging.getLogger(__name__)
RETRY_INTERVAL_SECONDS = 60.0  # pause after the answer of an older registry, which has no loads


class LoadSync:
    """Reads all loads from the registry. Call `run_round` again and again; it returns the seconds to pause."""

    def __init__(self, state: RouterState, client: "RegistryClient", clock: Callable[[], float]) -> None:
        self._state = state
        self._client = client
        self._clock = clock
        self._interval = state.settings.load_interval
        self._loads: list[ListedLoad] = []
        self._read_at = clock()
        # For each of the last rounds: instance -> number of requests that had ended by then.
        self._ended: deque[dict[str, int]] = deque(maxlen=MAX_AGE_INTERVALS + 1)

    def run_round(self) -> float:
        """Read the loads once. While no registry answers, each load is used until it is too old."""
        pause = self._interval
        if not self._state.uses_loads():
            self._loads = []
            return pause
        try:
            self._loads = self._client.loads()
            self._read_at = self._clock()
        except Unavailable:
            pass  # the sync of the table logs that no registry answers
        except SvcError as error:
            log.debug("cannot read the loads of engines: %s", error)
            pause = max(pause, RETRY_INTERVAL_SECONDS)
        elapsed = self._clock() - self._read_at
        ages = {load.service: load.age + elapsed for load in self._loads}
        loads = {load.service: load for load in self._loads if load.is_current(ages[load.service])}
        self._state.set_loads(loads, {name: self._own_requests(name, ages[name]) for name in loads})
        self._ended.append(self._ended_requests())
        return pause

    def _own_requests(self, name: str, age: float) -> int:
        """Return how many requests of this router a load may include: those in flight, and those ended within `age`.

        A request that ended after the report must not count as another router's.
        """
        in_flight = self._state.balancer.loads.get(name, 0)
        if not self._ended:
            return in_flight
        rounds = min(len(self._ended), 1 + int(age / self._interval))
        return in_flight + max(0, self._ended_requests_of(name) - self._ended[-rounds].get(name, 0))

    def _ended_requests_of(self, name: str) -> int:
        statistics = self._state.statistics.instances.get(name)
        return statistics.requests if statistics else 0

    def _ended_requests(self) -> dict[str, int]:
        return {name: statistics.requests for name, statistics in self._state.statistics.instances.items()}


def uses_loads(settings: RouterSettings) -> bool:
    """Return whether the settings allow the router to read the loads of engines from a registry."""
    return bool(settings.registry_url and settings.load_interval)
