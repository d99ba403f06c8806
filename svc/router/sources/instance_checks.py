"""The router's own health checks: of an instance by its babysitter, side by side, one slow host holding up nobody."""

import logging
import threading
from collections.abc import Callable, Iterable
from time import monotonic

from svc.base.dial import AddressRefused
from svc.base.http import system_ca
from svc.client import probe
from svc.perimeter.networks import AllowedNetworks
from svc.router.balance.table import Target
from svc.router.sources.static_check import StaticCheck
from svc.router.state import RouterState

log = logging.getLogger(__name__)
RETURN_INTERVAL = 2.0  # seconds between checks of an instance that is out
FIRST_MODELS_SECONDS = 2.0  # that a router's start waits for the models of static services

Spawn = Callable[[Callable[[Target], None], Target], object]


def spawn(work: Callable[[Target], None], target: Target) -> None:
    threading.Thread(target=work, args=(target,), name=f"check {target.name}", daemon=True).start()


class InstanceChecks:
    """`once`, called every second, checks whoever is due: the fit each `health_interval`, those that are out sooner."""

    def __init__(self, state: RouterState, clock: Callable[[], float], spawn: Spawn = spawn) -> None:
        self._state = state
        self._clock = clock
        self._spawn = spawn
        self._timeout = state.settings.health_timeout
        self._verify = state.settings.upstream_ca or system_ca() or True
        self._static = StaticCheck(state, clock, self._timeout, self._verify)
        self._networks = AllowedNetworks()
        self._refusals: dict[str, str] = {}  # what the log says of targets that are not connected to
        self._due: dict[str, float] = {}
        self._busy: set[str] = set()

    def once(self) -> None:
        now = self._clock()
        targets = [t for t in self._state.table.targets if t.admitted()]
        self._due = {t.name: self._due.get(t.name, now) for t in targets}
        for target in targets:
            if self._due[target.name] <= now and target.name not in self._busy:
                self._busy.add(target.name)
                self._spawn(self._check, target)
        if self._state.unlisted_model_requested:
            self._state.unlisted_model_requested = False
            self._discover_again(targets)

    def _discover_again(self, targets: Iterable[Target]) -> None:
        """Ask the static services for their models: a request has named one that no instance lists."""
        for target in targets:
            if target.discovers_models and target.name not in self._busy:
                self._busy.add(target.name)
                self._spawn(self._discover, target)

    def _discover(self, target: Target) -> None:
        try:
            self._static.discover_models(target)
        finally:
            self._busy.discard(target.name)

    def discover_models(self, seconds: float = FIRST_MODELS_SECONDS) -> None:
        """Ask the static services whose file names no models for them, all at once; wait for `seconds` at most."""
        targets = [t for t in self._state.table.targets if t.discovers_models]
        threads = [threading.Thread(target=self._static.discover_models, args=(t,), daemon=True) for t in targets]
        for thread in threads:
            thread.start()
        join(threads, seconds)

    def _check(self, target: Target) -> None:
        try:
            well = self._static(target) if target.static else self._healthy(target)
            unready = target.static and well is False  # it says so itself, as an engine does that still loads
            self._state.checked(target.name, bool(well), first_decides=unready)
        finally:
            self._due[target.name] = self._clock() + self._interval(target)
            self._busy.discard(target.name)

    def _interval(self, target: Target) -> float:
        interval = self._state.settings.health_interval
        return interval if target.name in self._state.table.candidates else min(interval, RETURN_INTERVAL)

    def _healthy(self, target: Target) -> bool:
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
    """Wait for all of them, `seconds` in all."""
    ends = monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, ends - monotonic()))
