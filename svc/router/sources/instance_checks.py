"""The router's own health checks of instances, through their babysitters. The checks run in parallel."""

import logging
import threading
from collections.abc import Callable, Iterable
from time import monotonic

from svc.base.ca_certificates import system_ca
from svc.base.dial import AddressRefused
from svc.client import probe
from svc.perimeter.networks import AllowedNetworks
from svc.router.balance.target import Target
from svc.router.sources.static_check import StaticCheck
from svc.router.state import RouterState

log = logging.getLogger(__name__)
UNHEALTHY_INTERVAL_SECONDS = 2.0  # time between two checks of an instance that is not a candidate
DISCOVERY_TIMEOUT_SECONDS = 2.0  # a starting router waits up to this long for the models of static services

Spawn = Callable[[Callable[[Target], None], Target], object]


def spawn(work: Callable[[Target], None], target: Target) -> None:
    threading.Thread(target=work, args=(target,), name=f"check {target.name}", daemon=True).start()


class InstanceChecks:
    """The health checks of all instances. `run_round`, called every second, checks the instances that are due.

    Candidates are due each `health_interval`, other instances more often.
    """

    def __init__(self, state: RouterState, clock: Callable[[], float], spawn: Spawn = spawn) -> None:
        self._state = state
        self._clock = clock
        self._spawn = spawn
        self._timeout = state.settings.health_timeout
        self._verify = state.settings.upstream_ca or system_ca() or True
        self._static = StaticCheck(state, clock, self._timeout, self._verify)
        self._networks = AllowedNetworks()
        self._refusals: dict[str, str] = {}  # instance -> the last logged message that its address is not allowed
        self._due: dict[str, float] = {}
        self._busy: set[str] = set()

    def run_round(self) -> None:
        now = self._clock()
        targets = [target for target in self._state.balancer.table.targets if target.accepts_requests()]
        self._due = {target.name: self._due.get(target.name, now) for target in targets}
        for target in targets:
            if self._due[target.name] <= now and target.name not in self._busy:
                self._busy.add(target.name)
                self._spawn(self._check, target)
        if self._state.balancer.unlisted_model_requested:
            self._state.balancer.unlisted_model_requested = False
            self._discover_again(targets)

    def _discover_again(self, targets: Iterable[Target]) -> None:
        """Read the models of static services again, because a request was for a model that no instance lists."""
        for target in targets:
            if target.discovers_models and target.name not in self._busy:
                self._busy.add(target.name)
                self._spawn(self._discover, target)

    def _discover(self, target: Target) -> None:
        try:
            self._static.discover_models(target)
        finally:
            self._busy.discard(target.name)

    def discover_models(self, seconds: float = DISCOVERY_TIMEOUT_SECONDS) -> None:
        """Read in parallel the models of all static services whose entries list none; wait for `seconds` at most."""
        targets = [t for t in self._state.balancer.table.targets if t.discovers_models]
        threads = [threading.Thread(target=self._static.discover_models, args=(t,), daemon=True) for t in targets]
        for thread in threads:
            thread.start()
        join(threads, seconds)
        self._state.apply_discoveries()

    def _check(self, target: Target) -> None:
        try:
            healthy = self._static(target) if target.static else self._is_healthy(target)
            unready = target.static and healthy is False  # the service itself reports that it is not ready
            self._state.balancer.record_check(target.name, bool(healthy), first_decides=unready)
        finally:
            self._due[target.name] = self._clock() + self._interval(target)
            self._busy.discard(target.name)

    def _interval(self, target: Target) -> float:
        interval = self._state.settings.health_interval
        return (
            interval
            if target.name in self._state.balancer.table.candidates
            else min(interval, UNHEALTHY_INTERVAL_SECONDS)
        )

    def _is_healthy(self, target: Target) -> bool:
        url = target.health_url or f"{target.babysitter_url}/health"
        try:
            status = probe.status(
                url, self._timeout, self._verify, target.key_for(url), self._networks.rejection_reason
            )
        except AddressRefused as error:
            self._log_refusal(target.name, f"{target.name} is not checked, which counts as failed: {url}: {error}")
            return False
        return probe.status_is_healthy(status, required=True)

    def _log_refusal(self, name: str, message: str) -> None:
        if self._refusals.get(name) != message:
            log.warning("%s", message)
        self._refusals[name] = message


def join(threads: Iterable[threading.Thread], seconds: float) -> None:
    """Wait until all threads have ended, for at most `seconds` in all."""
    deadline = monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, deadline - monotonic()))
